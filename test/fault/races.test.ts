import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { ApiKeyJson, RevocationJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'

/** RACES=10000 takes most of a minute, and also says how they ended. */
const RACES = Number(process.env['RACES'] ?? 1_000)
const TOKENS_AT_ONCE = 10
const STREAMS_PER_TOKEN = 4
/** A revoke is sent when a stream of its token got up to so many bytes, evenly over the orders of magnitude. */
const RECEIVED_MAX = 128 * 1024
const EVENT_MAX = 400
const CHUNK_MAX = 3_000
/** One token in so many has readers that stop: its revoke is sent when up to so many bytes were said to the gate. */
const STOPPED_EVERY = 25
const SAID_MAX = 8 * 1024 * 1024
/** An upstream whose bytes are not taken for this long waits for the reader. */
const STALLED_MS = 50

/** How fast an upstream talks: so many bytes in each turn of the loop, and so long between turns. */
const PACES = { steady: [1, 1], fast: [32 * 1024, 0], torrent: [512 * 1024, 0] } as const
type Pace = keyof typeof PACES

const SERVER = 'flood'
const PAD = 'x'.repeat(EVENT_MAX)
const FAREWELL = Buffer.from(
  'event: disconnect\ndata: {"error":{"type":"token_revoked","message":"Connection token revoked"}}\n\n',
)
const LAST_CHUNK = '0\r\n\r\n'
/** A comment that opens a stream whose first event has not come yet. */
const OPENING = Buffer.from(':\n\n')

/** An upstream stream that says as much as is taken, in chunks that end anywhere. */
class Flood {
  readonly bytes: Buffer[] = []
  /** Where each event ends, and when the chunk with its last byte was handed over (performance.now()). */
  readonly events: { end: number; at: number }[] = []
  length = 0
  #made = 0
  #unsaid = Buffer.alloc(0)
  #ends: number[] = []

  constructor(
    readonly request: RawUpstreamRequest,
    readonly name: string,
    readonly pace: Pace,
  ) {
    request.begin('200 OK', ['Content-Type: text/event-stream'])
    request.socket.on('drain', () => this.run())
    this.run()
  }

  get #open(): boolean {
    return this.request.closedAt === null && this.request.socket.writable
  }

  run(): void {
    if (!this.#open) return
    const [burst, waitMs] = PACES[this.pace]
    let taken = true
    for (let sent = 0; taken && sent < burst;) {
      const chunk = this.#next()
      sent += chunk.length
      taken = this.request.chunk(chunk)
    }
    if (taken) setTimeout(() => this.run(), waitMs)
  }

  #next(): Buffer {
    const size = 1 + Math.floor(Math.random() * CHUNK_MAX)
    const made: Buffer[] = [this.#unsaid]
    let have = this.#unsaid.length
    while (have < size) {
      this.#made += 1
      const pad = PAD.slice(0, Math.floor(Math.random() * EVENT_MAX))
      const event = Buffer.from(`id: ${this.#made}\ndata: {"stream":"${this.name}","pad":"${pad}"}\n\n`)
      made.push(event)
      have += event.length
      this.#ends.push(this.length + have)
    }
    const all = Buffer.concat(made)
    const chunk = all.subarray(0, size)
    this.#unsaid = all.subarray(size)
    this.length += size
    this.bytes.push(chunk)
    const at = performance.now()
    for (let end = this.#ends[0]; end !== undefined && end <= this.length; end = this.#ends[0]) {
      this.events.push({ end, at })
      this.#ends.shift()
    }
    return chunk
  }
}

/** Nothing follows the end that the answer's own framing says. The upstream's bytes hold no CR. */
const endsWithItsBody = ({ head, received, bodyBytes }: RawClient): boolean => {
  const begins = (head?.raw.length ?? 0) + 4
  if (head?.get('content-length')) return received.length === begins + bodyBytes
  return received.indexOf(LAST_CHUNK, begins) === received.length - LAST_CHUNK.length
}

type Outcome = 'farewell' | 'reset' | 'refused'
type Race = { name: string; client: RawClient }

const floods = new Map<string, Flood>()
let node: TestNode
let upstream: Awaited<ReturnType<typeof startRaw>>
let key: string

beforeAll(async () => {
  upstream = await startRaw((request) => {
    const name = request.head.get('x-stream') ?? ''
    floods.set(name, new Flood(request, name, request.head.get('x-pace') as Pace))
  })
  node = await startNode()
  await node.addServer(SERVER, upstream.url, { kind: 'http' })
  key = (await node.api<ApiKeyJson & { key: string }>('POST', '/apikeys', { name: 'races', role: 'operator' })).json.key
})
afterAll(async () => {
  await node?.stop()
  upstream?.stop()
})

const request = (secret: string, name: string, pace: Pace) => ({
  target: `/s/${SERVER}/events`,
  headers: { ...bearer(secret), 'X-Stream': name, 'X-Pace': pace },
})

const revoke = (tokenId: string): Promise<RawClient> =>
  ask(node.console, {
    method: 'POST',
    target: '/api/v1/revocations',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify({ tokens: [tokenId], reason: 'compromised' }),
  })

/** Judges what one client got of a stream whose revocation was answered at `answeredAt`. */
const judge = ({ name, client }: Race, answeredAt: number): Outcome => {
  const flood = floods.get(name)
  if (client.status === 401) {
    expect(client.complete).toBe(true)
    expect(client.text).toContain('token-revoked')
    return 'refused'
  }
  if (client.status !== 0) expect(client.status).toBe(200)
  const all = client.bytes
  const body = all.subarray(0, OPENING.length).equals(OPENING) ? all.subarray(OPENING.length) : all
  const said = body.subarray(-FAREWELL.length).equals(FAREWELL)
  const passed = said ? body.subarray(0, -FAREWELL.length) : body

  if (said) {
    expect(client.complete).toBe(true)
    expect(endsWithItsBody(client), `${name}: nothing follows the farewell`).toBe(true)
    const onBoundary = passed.length === 0 || (flood?.events.some(({ end }) => end === passed.length) ?? false)
    expect(onBoundary, `${name}: the farewell stands between events`).toBe(true)
  } else {
    expect(client.complete, `${name}: a stream without a farewell is broken off`).toBe(false)
    expect(client.ended).toBe('reset')
  }
  const produced = Buffer.concat(flood?.bytes ?? [])
  const isPrefix = produced.subarray(0, passed.length).equals(passed)
  expect(isPrefix, `${name}: what was passed on is the start of what the upstream said`).toBe(true)
  const late = flood?.events.filter(({ end, at }) => end <= passed.length && at > answeredAt) ?? []
  expect(late, `${name}: events said after the answer were passed on`).toEqual([])
  return said ? 'farewell' : 'reset'
}

/** Until one of the streams got a random number of bytes; sometimes none, before any has begun. */
const receive = async (clients: RawClient[]): Promise<void> => {
  if (Math.random() < 0.05) return
  const threshold = Math.exp(Math.random() * Math.log(RECEIVED_MAX))
  await eventually(() => clients.some(({ bodyBytes }) => bodyBytes >= threshold), { everyMs: 0 })
}

/** Stops reading, and waits until an upstream said a random number of bytes, or can say no more. */
const stop = async (races: Race[]): Promise<void> => {
  await Promise.all(races.map(({ client }) => client.until(({ bodyBytes }) => bodyBytes > 0)))
  for (const { client } of races) client.pause()
  const threshold = Math.random() < 0.5 ? Infinity : Math.random() * SAID_MAX
  const said = () => Math.max(...races.map(({ name }) => floods.get(name)?.length ?? 0))
  for (let before = -1; said() < threshold && said() > before; await Bun.sleep(STALLED_MS)) before = said()
}

/** One token, its streams, and a revoke somewhere in the middle. */
const raceToken = async (tokenName: string, stopped: boolean): Promise<Outcome[]> => {
  const { id, token } = await node.createToken(tokenName, [SERVER])
  const names = Array.from({ length: STREAMS_PER_TOKEN }, (_, at) => `${tokenName}-${at}`)
  const pace = (): Pace => (stopped ? 'torrent' : Math.random() < 0.5 ? 'fast' : 'steady')
  const clients = await Promise.all(names.map((name) => open(node.gate, request(token, name, pace()))))
  const races = names.map((name, at) => ({ name, client: clients[at] as RawClient }))
  if (stopped) await stop(races)
  else await receive(clients)

  const answer = await revoke(id)
  expect(answer.status, answer.text).toBe(201)
  const answeredAt = answer.arrivals[0]?.at ?? Number.NaN
  const receipt = answer.json as RevocationJson
  expect(receipt.durable).toBe(true)
  expect(receipt.timings.commitMs).toBeLessThanOrEqual(receipt.timings.lastCutMs ?? Infinity)

  const after = await ask(node.gate, request(token, `${tokenName}-after`, 'steady'))
  expect(after.status).toBe(401)
  expect(floods.has(`${tokenName}-after`)).toBe(false)
  for (const client of clients) client.resume()
  await Promise.all(clients.map((client) => client.done(20_000)))
  const outcomes = races.map((race) => judge(race, answeredAt))
  for (const { name, client } of races) {
    client[Symbol.dispose]()
    floods.delete(name)
  }
  return outcomes
}

test(`${RACES} fast streams against their revocation: whole events, then the farewell, or a reset`, async () => {
  const counts: Record<Outcome, number> = { farewell: 0, reset: 0, refused: 0 }
  let started = 0
  for (let run = 0; run < RACES; run += TOKENS_AT_ONCE * STREAMS_PER_TOKEN) {
    const tokens = Array.from({ length: TOKENS_AT_ONCE }, (_, at) => {
      started += 1
      return raceToken(`race-${run}-${at}`, started % STOPPED_EVERY === 0)
    })
    const outcomes = (await Promise.all(tokens)).flat()
    for (const outcome of outcomes) counts[outcome] += 1
  }
  if (process.env['RACES']) console.log(counts)
  // A race that always ends in one way would not be one.
  expect(counts.farewell).toBeGreaterThan(RACES / 10)
  expect(counts.reset).toBeGreaterThan(0)
  expect(counts.refused).toBeGreaterThan(0)
}, 300_000)
