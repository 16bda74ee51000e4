import { HOST, startProgram, written } from './program.ts'
import { freePort } from '../support/port.ts'
import type { StartProxy } from './reverse-proxy.ts'
import { executableOf, versionOf } from './versions.ts'

/** As few lines as it takes. Without `http-no-delay` it waits 200 ms with a stream's first event. */
const haproxyConfig = (socket: string, port: number, originPort: number): string => `
global
  stats socket ${socket} mode 600 level admin
  maxconn 6000
defaults
  mode http
  option http-no-delay
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend gate
  bind ${HOST}:${port}
  default_backend origin
backend origin
  server s1 ${HOST}:${originPort}
`

/** It starts a thread for each core that it may run on: here one. */
export const startHaproxy = async (originPort: number) => {
  const port = freePort()
  const program = await startProgram({
    name: 'HAProxy',
    side: 'contender',
    port,
    command: async (folder) => {
      const config = await written(`${folder}/config`, haproxyConfig(`${folder}/admin.sock`, port, originPort))
      return [executableOf('haproxy') ?? '', '-db', '-f', config]
    },
  })
  return { name: `HAProxy ${versionOf('haproxy')}`, port, adminSocket: `${program.folder}/admin.sock`, ...program }
}

export const startHaproxyProxy: StartProxy = async (originPort, token) => ({
  prefix: '',
  token,
  ...(await startHaproxy(originPort)),
})
