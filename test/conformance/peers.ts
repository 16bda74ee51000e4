import { join } from 'node:path'
import { findNode } from '../support/find-node.ts'
import { eventually } from '../support/poll.ts'
import { freePort } from '../support/port.ts'
import { tempFolder } from '../support/temp.ts'

const BIN = join(import.meta.dir, '../../node_modules/.bin')

/** Which generation a peer is to be at its best for; no flags of theirs serve all three. */
export type Era = 'sessions' | 'stateless' | 'sse'

/** The gateways from npm that make HTTP of a command, each as its own page says to start it. */
const FLAGS = {
  supergateway: (command: string[], port: number, era: Era) => [
    ...['--stdio', command.join(' '), '--logLevel', 'none', '--port', `${port}`],
    ...(era === 'sse' ? ['--outputTransport', 'sse'] : ['--outputTransport', 'streamableHttp', '--stateful']),
  ],
  'mcp-proxy': (command: string[], port: number, era: Era) => [
    ...['--host', '127.0.0.1', '--port', `${port}`],
    // Without it no client of 2026-07-28 reaches the command; with it some of those before do not.
    ...(era === 'stateless' ? ['--upstreamProtocol', 'auto'] : []),
    ...['--', ...command],
  ],
}
export type Peer = keyof typeof FLAGS
export const PEERS = Object.keys(FLAGS) as Peer[]

const groupIsGone = (pid: number): boolean => {
  try {
    process.kill(-pid, 'SIGKILL')
    return false
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return true
    throw error
  }
}

/** Its URL ends with the port: `/mcp` and `/sse` are under it. */
export const startPeer = async (peer: Peer, command: string[], era: Era) => {
  const port = freePort()
  const url = `http://127.0.0.1:${port}`
  const child = Bun.spawn([findNode(), join(BIN, peer), ...FLAGS[peer](command, port, era)], {
    cwd: tempFolder(),
    env: { PATH: process.env['PATH'] ?? '' },
    stdio: ['ignore', 'ignore', 'ignore'],
    // A group of its own: it leaves its children behind.
    detached: true,
  })
  const kill = () => void groupIsGone(child.pid)
  process.on('exit', kill)
  const stop = async () => {
    kill()
    await eventually(() => groupIsGone(child.pid), { timeoutMs: 10_000, what: `${peer} and its children are gone` })
    process.off('exit', kill)
  }
  const isUp = () => (child.exitCode === null ? fetch(`${url}/nothing`) : Promise.reject(new Error('it ended')))
  await eventually(isUp, { timeoutMs: 20_000, everyMs: 20, what: `${peer} listens` }).catch(async (error: unknown) => {
    await stop()
    throw error
  })
  return { url, stop }
}
