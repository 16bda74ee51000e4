import { startNode } from '../support/node.ts'
import { builtBinary } from '../support/binary.ts'
import { type Child, startChild } from './child.ts'
import { pinned } from './machine.ts'
import { HOST } from './program.ts'

/** What stands in front of an origin on a core of its own, and lets requests with one token pass. */
export interface ReverseProxy {
  name: string
  pid: number
  port: number
  /** What stands before the origin's own path. */
  prefix: string
  token: string
  stop: () => Promise<unknown>
}

export type StartProxy = (originPort: number, token: string) => Promise<ReverseProxy>

/** The least that a proxy costs on this runtime: `Bun.serve` and `fetch`, nothing asked. */
export const startPlain = async (originPort: number): Promise<ReverseProxy> => {
  const child: Child = startChild('plain.ts', 'contender', { BUN_CONFIG_MAX_HTTP_REQUESTS: '65535' })
  const port = await child.call<number>('start', originPort)
  return { name: 'plain Bun proxy', pid: child.pid, port, prefix: '', token: 'none', stop: child.stop }
}

/** The executable, as users run it. */
export const startGate = async (origin: string, kind: 'http' | 'auto' = 'http') => {
  const node = await startNode({ command: pinned('contender', [builtBinary()]) })
  await node.addServer('origin', origin, { kind })
  const { token } = await node.createToken('bench', ['origin'])
  const port = Number(new URL(node.gate).port)
  return { name: 'gate', pid: node.pid, port, prefix: '/s/origin', token, stop: node.stop, node }
}

/** The origin itself: what it costs without anybody in front. */
export const direct = (name: string, pid: number, port: number): ReverseProxy => ({
  name,
  pid,
  port,
  prefix: '',
  token: 'none',
  stop: async () => undefined,
})

/** A small GET as all are asked it. */
export const getBytes = ({ prefix, token }: Pick<ReverseProxy, 'prefix' | 'token'>, path: string): string =>
  `GET ${prefix}${path} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer ${token}\r\n\r\n`
