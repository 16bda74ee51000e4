import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pinned } from './machine.ts'
import type { Endpoint } from './mcp-bytes.ts'
import { HOST, startProgram } from './program.ts'
import { freePort } from '../support/port.ts'
import type { Stops } from './stops.ts'
import { NODE, ROOT, versions } from './versions.ts'

/** The gateways from npm, as their own pages say to start them; neither takes a server over HTTP and gives HTTP. */
const GATEWAYS = {
  supergateway: (server: string[], port: number) => [
    ...['--stdio', server.join(' '), '--outputTransport', 'streamableHttp', '--stateful'],
    ...['--logLevel', 'none', '--port', `${port}`],
  ],
  'mcp-proxy': (server: string[], port: number) => ['--host', HOST, '--port', `${port}`, '--', ...server],
}

export interface Gateway {
  name: string
  pid: number
  endpoint: Endpoint
}

/** Their server is a child of whoever asks it, on the core where it also is when it is asked over HTTP. */
export const STDIO_SERVER = pinned('load', [NODE, join(import.meta.dir, 'mcp-server.ts'), 'stdio'])

export const startGateways = async (stops: Stops) => {
  const missing: string[] = []
  const gateways: Gateway[] = []
  for (const [name, flagsOf] of Object.entries(GATEWAYS)) {
    const script = join(ROOT, 'node_modules/.bin', name)
    if (!existsSync(NODE) || !existsSync(script)) {
      missing.push(name)
      continue
    }
    const port = freePort()
    const command = () => [NODE, script, ...flagsOf(STDIO_SERVER, port)]
    const program = stops.add(await startProgram({ name, side: 'contender', port, command }))
    const endpoint = { port, path: '/mcp', token: null }
    gateways.push({ name: `${name} ${versions()[name]}`, pid: program.pid, endpoint })
  }
  return { gateways, missing }
}
