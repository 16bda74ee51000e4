import { inOwnNetwork, NAMES } from './network.ts'
import { testProxy } from './through.ts'

const before = `
mkdir /etc/haproxy/certs
for name in ${NAMES.join(' ')}; do
  cat /etc/letsencrypt/live/$name/fullchain.pem /etc/letsencrypt/live/$name/privkey.pem > /etc/haproxy/certs/$name.pem
done
`

if (inOwnNetwork(import.meta.path, ['haproxy'])) {
  testProxy({
    name: 'HAProxy',
    config: ['haproxy.cfg', '/etc/haproxy/haproxy.cfg'],
    before,
    // As its unit starts it: a master, and a worker that has no rights.
    command: ['haproxy', '-W', '-f', '/etc/haproxy/haproxy.cfg'],
  })
}
