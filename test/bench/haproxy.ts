import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const EXECUTABLE = '/usr/sbin/haproxy'

/**
 * As few lines as it takes: its own defaults (a thread a core) are what people run. Without `http-no-delay`
 * it waits 200 ms with a stream's first event.
 */
const configOf = (socket: string, port: number, originPort: number, connectionsMax: number): string => `
global
  stats socket ${socket} mode 600 level admin
  maxconn ${connectionsMax}
defaults
  mode http
  option http-no-delay
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend gate
  bind 127.0.0.1:${port}
  default_backend origin
backend origin
  server s1 127.0.0.1:${originPort}
`

const freePort = (): number => {
  const probe = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
  probe.stop(true)
  return probe.port
}

/** HAProxy in front of the origin; null where it is not installed. */
export const startHaproxy = async (originPort: number, connectionsMax: number) => {
  if (!existsSync(EXECUTABLE)) return null
  const folder = tempFolder()
  const port = freePort()
  const socket = join(folder, 'admin.sock')
  const config = join(folder, 'haproxy.cfg')
  await Bun.write(config, configOf(socket, port, originPort, connectionsMax))
  const child = Bun.spawn([EXECUTABLE, '-db', '-f', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  const stop = async () => {
    child.kill('SIGKILL')
    await child.exited
    removeFolder(folder)
  }
  try {
    await eventually(() => existsSync(socket), { what: 'HAProxy makes its socket' })
  } catch (error) {
    await stop()
    throw new Error(`HAProxy did not start: ${await new Response(child.stderr).text()}`, { cause: error })
  }
  const [, version = ''] = /version (\d+\.\d+)/.exec(Bun.spawnSync([EXECUTABLE, '-v']).stdout.toString()) ?? []
  return { name: `HAProxy ${version}`, port, socket, command: 'shutdown sessions server origin/s1\n', stop }
}
