import { inOwnNetwork } from './network.ts'
import { testProxy } from './through.ts'

if (inOwnNetwork(import.meta.path, ['nginx'])) {
  testProxy({
    name: 'nginx',
    config: ['nginx.conf', '/etc/nginx/conf.d/portcullis.conf'],
    command: ['nginx', '-g', 'daemon off;'],
  })
}
