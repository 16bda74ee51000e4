import { HOST, startProgram, written } from './program.ts'
import { freePort } from '../support/port.ts'
import type { StartProxy } from './reverse-proxy.ts'
import { executableOf, versionOf } from './versions.ts'

const caddyConfig = (port: number, originPort: number, token: string): string => `
{
  admin off
  auto_https off
}
http://${HOST}:${port} {
  @live header Authorization "Bearer ${token}"
  handle @live {
    reverse_proxy ${HOST}:${originPort} {
      header_up -Authorization
      flush_interval -1
      transport http {
        keepalive_idle_conns_per_host 64
      }
    }
  }
  respond 401
}
`

export const startCaddy: StartProxy = async (originPort, token) => {
  const port = freePort()
  const program = await startProgram({
    name: 'Caddy',
    side: 'contender',
    port,
    env: { GOMAXPROCS: '1' },
    command: async (folder) => {
      const config = await written(`${folder}/config`, caddyConfig(port, originPort, token))
      return [executableOf('caddy') ?? '', 'run', '--adapter', 'caddyfile', '--config', config]
    },
  })
  return { name: `Caddy ${versionOf('caddy')}`, port, prefix: '', token, ...program }
}
