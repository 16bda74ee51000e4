import { join } from 'node:path'
import type { TestNode } from '../support/node.ts'
import { bearer } from '../support/secret.ts'
import { type Era, type Peer, PEERS, startPeer } from './peers.ts'
import type { Door } from './talker.ts'

const UPSTREAMS = join(import.meta.dir, '../support/upstreams')

/** The same servers as are reached directly over HTTP, as commands. */
export const COMMANDS = {
  conformance: [process.execPath, join(UPSTREAMS, 'conformance/stdio.ts')],
  features: [process.execPath, join(UPSTREAMS, 'features/stdio.ts')],
}

const OURS = { gate: { shared: false }, 'gate, shared': { shared: true } } as const
export type Ours = keyof typeof OURS
export const STDIO_ROADS = [...(Object.keys(OURS) as Ours[]), ...PEERS] as const
export type StdioRoad = (typeof STDIO_ROADS)[number]

const isPeer = (road: StdioRoad): road is Peer => road in OURS === false

/** A command behind whichever gateway, reached as its clients reach it. */
export const openRoad = async (road: StdioRoad, command: string[], era: Era, node: TestNode) => {
  const rest = era === 'sse' ? '/sse' : '/mcp'
  if (isPeer(road)) {
    const { url, stop } = await startPeer(road, command, era)
    return { door: { url: url + rest, headers: {} } satisfies Door, token: undefined, stop }
  }
  const name = `stdio-${crypto.randomUUID()}`
  await node.addCommand(name, command, OURS[road])
  const { token } = await node.createToken(name, [name])
  const door: Door = { url: `${node.gate}/s/${name}${rest}`, headers: bearer(token) }
  return { door, token, stop: () => node.api('DELETE', `/servers/${name}`) }
}
