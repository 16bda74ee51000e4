import type { RevocationJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { builtBinary } from '../support/binary.ts'
import { type Child, startChild } from './child.ts'
import type { Outcome, Round } from './client.ts'
import { startHaproxy } from './haproxy.ts'
import { pinned } from './machine.ts'
import { HOST } from './program.ts'
import { executableOf } from './versions.ts'

/** What was seen, what the node said of it, and what did not work. */
export type Played = { outcome: Outcome; receipt?: RevocationJson; failures: string[] }
export type Contender = { name: string; play: (streams: number) => Promise<Played>; stop: () => Promise<unknown> }

export const SERVER = 'origin'
const get = (path: string, headers = '') =>
  `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nAccept: text/event-stream\r\n${headers}\r\n`

const play = (client: Child, round: Omit<Round, 'hostname'>) =>
  client.call<Outcome>('play', { hostname: HOST, ...round })

const unended = ({ endings, trailing }: Outcome): string[] => [
  ...(endings.none > 0 ? [`${endings.none} streams were not ended`] : []),
  ...(trailing > 0 ? [`${trailing} streams got bytes after their end`] : []),
]
const unsaid = ({ farewells, endings }: Outcome, streams: number): string[] => [
  ...(farewells < streams ? [`${streams - farewells} farewells are missing`] : []),
  ...(endings.terminator < streams ? [`${streams - endings.terminator} streams ended without a last chunk`] : []),
]

const receiptOf = ({ answer }: Outcome): RevocationJson | null => {
  if (!answer.startsWith('HTTP/1.1 201 ')) return null
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as RevocationJson
}

const revokeBytes = (tokenId: string): string => {
  const body = JSON.stringify({ tokens: [tokenId], reason: 'compromised' })
  const lines = [
    'POST /api/v1/revocations HTTP/1.1',
    'Host: localhost',
    'X-Portcullis-Actor: local:0',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}

/** One kill, checked: all ended as it should be, the receipt is right, and the token is dead. */
export const playGate = async (node: TestNode, client: Child, streams: number): Promise<Played> => {
  const { id, token } = await node.createToken(crypto.randomUUID(), [SERVER])
  const address = { unix: `${node.data}/control.sock` }
  const outcome = await play(client, {
    port: Number(new URL(node.gate).port),
    request: get(`/s/${SERVER}/events`, `Authorization: Bearer ${token}\r\n`),
    streams,
    command: { address, http: true, warmUp: get('/api/v1/node'), bytes: revokeBytes(id) },
  })
  const failures = [...unended(outcome), ...unsaid(outcome, streams)]
  const receipt = receiptOf(outcome)
  const cut = receipt?.connections.cut
  if (!receipt) failures.push(`the revocation was answered: ${outcome.answer.slice(0, 200)}`)
  else if (!receipt.durable) failures.push('the revocation is not durable')
  else if (cut !== streams) failures.push(`the receipt counts ${cut} of ${streams}`)
  const after = await ask(node.gate, { target: `/s/${SERVER}/events`, headers: bearer(token) })
  if (after.status !== 401) failures.push(`a request after the revocation was answered ${after.status}`)
  return { outcome, failures, ...(receipt ? { receipt } : {}) }
}

/** The executable, on a folder of its own; `cold` starts it anew for every kill. */
export const startGate = async (name: string, client: Child, originPort: number, cold = false): Promise<Contender> => {
  const command = pinned('contender', [builtBinary()])
  const begin = async () => {
    const data = tempFolder()
    const node = await startNode({ command, data })
    await node.addServer(SERVER, `http://${HOST}:${originPort}`, { kind: 'http' })
    return { node, stop: () => node.stop().then(() => removeFolder(data)) }
  }
  const warm = cold ? null : await begin()
  return {
    name,
    play: async (streams) => {
      const { node, stop } = warm ?? (await begin())
      try {
        return await playGate(node, client, streams)
      } finally {
        if (!warm) await stop()
      }
    },
    stop: async () => warm?.stop(),
  }
}

/** Null where it is not installed. */
export const startHaproxyContender = async (client: Child, originPort: number): Promise<Contender | null> => {
  if (executableOf('haproxy') === null) return null
  const { name, port, adminSocket, stop } = await startHaproxy(originPort)
  return {
    name,
    play: async (streams) => {
      const command = { address: { unix: adminSocket }, http: false, bytes: 'shutdown sessions server origin/s1\n' }
      const outcome = await play(client, { port, request: get('/events'), streams, command })
      return { outcome, failures: unended(outcome) }
    },
    stop,
  }
}

export const startFloors = async (client: Child): Promise<Contender[]> => {
  const floor = startChild('floor.ts', 'contender')
  const ports = await floor.call<{ streams: number; commands: number }>('ports')
  return (['end', 'write'] as const).map((bytes) => ({
    name: `floor (${bytes})`,
    play: async (streams) => {
      const command = { address: { hostname: HOST, port: ports.commands }, http: false, bytes }
      const outcome = await play(client, { port: ports.streams, request: get('/events'), streams, command })
      return { outcome, failures: [...unended(outcome), ...unsaid(outcome, streams)] }
    },
    stop: floor.stop,
  }))
}
