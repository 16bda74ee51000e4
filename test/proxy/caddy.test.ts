import { CADDY_DATA, inOwnNetwork } from './network.ts'
import { testProxy } from './through.ts'

if (inOwnNetwork(import.meta.path, ['caddy'])) {
  testProxy({
    name: 'Caddy',
    config: ['Caddyfile', '/etc/caddy/Caddyfile'],
    command: ['caddy', 'run', '--config', '/etc/caddy/Caddyfile'],
    env: { XDG_DATA_HOME: CADDY_DATA, XDG_CONFIG_HOME: CADDY_DATA },
    hidesResets: true,
    answersLate: true,
  })
}
