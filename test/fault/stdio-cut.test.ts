import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { Random } from '../support/random.ts'
import { parseEvents } from '../support/sse.ts'
import {
  addCommand,
  calling,
  initializing,
  recorded,
  recorder,
  startedIn,
  stdioClient,
} from '../support/stdio-client.ts'
import { lives } from '../support/stdio-process.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/** A revocation against all that is on its way to a command, and back. CUTS=2000 takes some minutes. */
const CUTS = Number(process.env['CUTS'] ?? 200)
const AT_ONCE = 4
/** A revoke is sent so long after its clients began, at most: starting, initializing and calling fit in. */
const AFTER_MS_MAX = 60

let node: TestNode
const folder = tempFolder()
const random = new Random(Number(process.env['SEED'] ?? Date.now()))
const ownFile = join(folder, 'own')
const sharedFile = join(folder, 'shared')

beforeAll(async () => {
  node = await startNode({ args: ['--stdio-processes-per-token', '64'] })
  await addCommand(node, 'own', { command: recorder(ownFile, 'stubborn') })
  await addCommand(node, 'shared', { command: recorder(sharedFile, 'stubborn'), shared: true })
})
afterAll(async () => {
  await node.stop()
  removeFolder(folder)
})

type Client = ReturnType<typeof stdioClient>
type Told = { revokedAt: number | null; name: string; sent: number; answers: string[] }

/** What a client does until it is refused; `told` counts what it sent, each message with the token's name and number. */
const WAYS: ((client: Client, told: Told) => Promise<unknown>)[] = [
  // A session, and calls one after the other.
  async (client, told) => {
    const session = await client.open()
    for (;;) {
      told.sent += 1
      const { status, text } = await client.post(calling(told.sent, `${told.name}-${told.sent}`), session)
      told.answers.push(text)
      if (status !== 200) return
    }
  },
  // Calls that are not answered, with progress.
  async (client, told) => {
    const session = await client.open()
    const calls = [1, 2, 3].map(async (id) => {
      const { text } = await client.post(calling(id, 'never', { progressToken: id }), session)
      told.answers.push(text)
      expect(text).toContain(text.startsWith('{"type"') ? '"status":401' : `"id":${id},"error":{"code":-32080`)
    })
    await Promise.all(calls)
  },
  // Sessions, one after the other.
  async (client, told) => {
    for (;;) {
      const { status, text } = await client.post(initializing())
      told.answers.push(text)
      if (status !== 200) return
    }
  },
  // Stateless calls.
  async (client, told) => {
    for (;;) {
      told.sent += 1
      const answer = await client.modern(calling(told.sent, `${told.name}-${told.sent}`))
      told.answers.push(await answer.text())
      if (answer.status !== 200) return
    }
  },
]

/** What a cut may leave, and what ends a loop: the last words, or a refusal of the next request. */
const LAST_WORDS = /-32080|token-revoked|too-many-processes/

const race = async (round: number): Promise<void> => {
  const told: Told = { revokedAt: null, name: `r${round}`, sent: 0, answers: [] }
  const issued = await node.createToken(told.name, ['own', 'shared'])
  const work = Promise.all(
    ['own', 'shared'].map(async (server) => {
      await random
        .pick(WAYS as [(typeof WAYS)[0]])(stdioClient(node, server, issued.token), told)
        .catch((error: unknown) => {
          // A connection that is broken off is a cut too; what the client expected is not.
          if (!/initialize answered 40[14]|socket|closed|reset/i.test(String(error))) throw error
        })
    }),
  )
  await Bun.sleep(random.next() * AFTER_MS_MAX)
  const { tokens } = await node.revoke({ tokens: [issued.id] })
  expect(tokens.length).toBe(1)
  // Said by another token to the same processes, after the revocation was answered.
  const marker = calling(round, `after-${told.name}`)
  expect((await marking.client.post(marker, marking.session)).status).toBe(200)
  expect((await marking.client.modern(marker)).status).toBe(200)
  await work
  for (const text of told.answers) {
    const events = parseEvents(text)
    const at = events.findIndex(({ data }) => data.includes('-32080'))
    // Nothing follows the last words but the last words of others.
    if (at !== -1) for (const { data } of events.slice(at)) expect(data).toContain('-32080')
  }
  const last = told.answers.at(-1)
  if (last !== undefined) expect(last).toMatch(LAST_WORDS)
}

let marking: { client: Client; session: string }

test(`revoked at ${CUTS} random moments: nothing reaches a command after the answer, nobody hangs, nobody is left`, async () => {
  const { token } = await node.createToken('marker', ['shared'])
  const client = stdioClient(node, 'shared', token)
  marking = { client, session: await client.open() }
  for (let round = 0; round < CUTS; round += AT_ONCE)
    await Promise.all(Array.from({ length: AT_ONCE }, (_, lane) => race(round + lane)))

  // One for sessions and one for stateless calls.
  const shared = startedIn(sharedFile)
  expect(shared.length).toBe(2)
  expect(shared.filter(lives)).toEqual(shared)
  let reached = 0
  for (const pid of shared) {
    const lines = recorded(sharedFile).flatMap((said) => (said.pid === pid ? [said.line] : []))
    for (let round = 0; round < CUTS; round += 1) {
      const marker = lines.findIndex((line) => line.includes(`"after-r${round}"`))
      expect(marker).toBeGreaterThan(-1)
      expect(lines.slice(marker).filter((line) => line.includes(`"r${round}-`))).toEqual([])
      reached += lines.slice(0, marker).filter((line) => line.includes(`"r${round}-`)).length
    }
  }
  expect(reached).toBeGreaterThan(CUTS / 10)
  // They ignore SIGTERM, so the last live through the grace.
  const own = startedIn(ownFile)
  await eventually(() => !own.some(lives), { timeoutMs: 10_000, everyMs: 50 })
  const { json } = await node.api<{ items: { server: string; kind: string }[] }>('GET', '/connections')
  expect(json.items.filter(({ server }) => server === 'own')).toEqual([])
  expect(own.length).toBeGreaterThan(CUTS / 4)
}, 300_000)

test.each([
  ['a request', calling(7, 'too-late')],
  ['a notification', { jsonrpc: '2.0', method: 'notifications/too-late', params: {} }],
])(
  '%s without a session, whose token dies while the shared process starts, never reaches it',
  async (title, message) => {
    const name = `start-${title.split(' ')[1]}`
    const file = join(folder, name)
    await addCommand(node, name, { command: recorder(file, 'slow'), shared: true })
    const [dies, lives_] = await Promise.all(['dies', 'lives'].map((who) => node.createToken(`${name}-${who}`, [name])))
    if (!dies || !lives_) throw new Error('no tokens')
    const headers = {
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': message.method,
      ...('id' in message && { 'mcp-name': 'too-late' }),
      authorization: `Bearer ${dies.token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    }
    const _meta = {
      'io.modelcontextprotocol/protocolVersion': '2026-07-28',
      'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    }
    const body = JSON.stringify({ ...message, params: { ...message.params, _meta } })
    const late = fetch(`${node.gate}/s/${name}`, { method: 'POST', headers, body })
    await eventually(() => startedIn(file).length === 1)
    await node.revoke({ tokens: [dies.id] })
    expect((await late).status).toBe(401)
    // Who came for the same process is served all the same, after what the dead one would have said.
    const answer = await stdioClient(node, name, lives_.token).modern(calling(8, 'in-time'))
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"done"')])
    const lines = recorded(file).map(({ line }) => line)
    expect(lines.some((line) => line.includes('in-time'))).toBeTrue()
    expect(lines.filter((line) => line.includes('too-late'))).toEqual([])
  },
)

test('what a command has not read when its token dies, it never reads', async () => {
  const file = join(folder, 'held')
  await addCommand(node, 'held', { command: recorder(file, 'stubborn') })
  const { id, token } = await node.createToken('held', ['held'])
  const client = stdioClient(node, 'held', token)
  const session = await client.open()
  const tell = (method: string, text = '') =>
    client.post({ jsonrpc: '2.0', method: `notifications/${method}`, params: { text } }, session)
  expect((await tell('hold')).status).toBe(202)
  // More than the kernel holds, and less than waits in the gate.
  for (let number = 1; number <= 100; number += 1)
    expect((await tell(`${number}`, 'x'.repeat(64 * 1024))).status).toBe(202)
  await node.revoke({ tokens: [id] })
  writeFileSync(`${file}.go`, '')
  const pids = startedIn(file)
  await eventually(() => !pids.some(lives), { timeoutMs: 10_000, everyMs: 20 })
  const rest = readFileSync(`${file}.rest`, 'utf8')
  const numbers = [...rest.matchAll(/notifications\/(\d+)"/g)].map(([, number]) => Number(number))
  // What the kernel held already.
  expect(numbers.length).toBeWithin(1, 50)
  expect(numbers).toEqual(numbers.map((_, index) => index + 1))
})

const percentile = (times: readonly number[], part: number): string =>
  `${times.toSorted((a, b) => a - b)[Math.ceil(times.length * part) - 1]?.toFixed(1)} ms`

test('a call in flight hears of the cut, and then its process is gone; how long both take', async () => {
  const file = join(folder, 'timed')
  await addCommand(node, 'timed', { command: recorder(file) })
  const heard: number[] = []
  const gone: number[] = []
  const inNode: number[] = []
  for (let round = 0; round < CUTS; round += 1) {
    const { id, token } = await node.createToken(`timed-${round}`, ['timed'])
    const client = stdioClient(node, 'timed', token)
    const session = await client.open()
    const pid = startedIn(file).at(-1) ?? 0
    const answer = await client.begin(calling(5, 'never'), session)
    const last = answer.text().then((text) => ({ text, at: performance.now() }))
    const asked = performance.now()
    const { connections, timings } = await node.revoke({ tokens: [id] })
    await eventually(() => !lives(pid), { everyMs: 1 })
    gone.push(performance.now() - asked)
    const { text, at } = await last
    heard.push(at - asked)
    inNode.push(timings.lastCutMs ?? 0)
    // The call, its session, and their process.
    expect(connections.cut).toBe(3)
    expect(parseEvents(text).at(-1)?.data).toBe(
      '{"jsonrpc":"2.0","id":5,"error":{"code":-32080,"message":"Connection token revoked","data":{"type":"token_revoked"}}}',
    )
  }
  const line = (title: string, times: number[]) =>
    `${title}: median ${percentile(times, 0.5)}, p99 ${percentile(times, 0.99)}`
  console.log(
    `${CUTS} revocations of a session with a call in flight. ${line('last cut, in the node', inNode)}; ` +
      `${line('last word at the client', heard)}; ${line('process gone', gone)}`,
  )
}, 300_000)
