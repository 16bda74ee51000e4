import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { type RawClient, ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'

const STREAMS = 2_000

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
let echo: Awaited<ReturnType<typeof startEcho>>
let scripted: Awaited<ReturnType<typeof startRaw>>
let script: (request: RawUpstreamRequest) => void
let secret: string

beforeAll(async () => {
  events = await startEvents()
  echo = await startEcho()
  scripted = await startRaw((request) => script(request))
  node = await startNode()
  await node.addServer('events', events.url)
  await node.addServer('echo', echo.url)
  await node.addServer('scripted', scripted.url)
  secret = (await node.createToken('reader', ['events', 'echo', 'scripted'])).token
})
afterAll(async () => {
  await node?.stop()
  for (const upstream of [events, echo, scripted]) upstream?.stop()
})

const openEvents = (bearing = secret) => open(node.gate, { target: '/s/events/x', headers: bearer(bearing) })
/** What is left when the gate's comments, which stand between events, are taken out. */
const withoutComments = (text: string): string => text.replaceAll(/(?<=^|\n\n):[^\n]*\n\n/g, '')

const withoutOpening = (text: string): string => text.replace(/^:[^\n]*\n\n/, '')

describe('events pass byte for byte', () => {
  const document = [
    '\uFEFFretry: 100\n\n',
    'id: 1\r\ndata: with CRLF\r\n\r\n',
    'data: with CR\r\r',
    'data: höl€😀 mixed\r\n\n',
    ': a comment of the upstream\n\n',
    'event: x\ndata\ndata:\ndata:  two spaces\n\n',
    'data: the last has no end',
  ].join('')
  const bytes = Buffer.from(document)

  const passing = async (chunks: Uint8Array[]): Promise<RawClient> => {
    script = (it) => {
      it.begin('200 OK', ['Content-Type: text/event-stream; charset=utf-8'])
      // A turn of the loop between chunks, so that they do not share a packet.
      void chunks
        .reduce(async (before, chunk) => {
          await before
          it.chunk(chunk)
          await Bun.sleep(1)
        }, Promise.resolve())
        .then(() => it.lastChunk())
    }
    return ask(node.gate, { target: '/s/scripted/x', headers: bearer(secret) })
  }

  test('in one chunk', async () => {
    const answer = await passing([bytes])
    expect(answer.text).toBe(document)
    expect(answer.head?.get('content-type')).toBe('text/event-stream; charset=utf-8')
    expect(answer.complete).toBeTrue()
  })

  test('byte by byte', async () => {
    const answer = await passing([...bytes].map((byte) => Uint8Array.of(byte)))
    // The first event takes long enough for a comment that opens the stream.
    expect(withoutOpening(answer.text)).toBe(document)
  })

  test('split in two at every place, line ends and characters included', async () => {
    for (let at = 1; at < bytes.length; at += 1) {
      const answer = await passing([bytes.subarray(0, at), bytes.subarray(at)])
      if (!answer.bytes.equals(bytes)) expect({ at, text: withoutOpening(answer.text) }).toEqual({ at, text: document })
    }
  })

  test('an event over 64 KiB, and what follows it', async () => {
    const big = Buffer.from(`data: ${'é'.repeat(100_000)}\n\n${document}`)
    const answer = await passing([big.subarray(0, 70_001), big.subarray(70_001, 150_000), big.subarray(150_000)])
    expect(answer.bytes.equals(big)).toBeTrue()
  })

  test('bytes that are no UTF-8', async () => {
    const odd = Buffer.from('data: \xff\xfe\x00\x80\n\n', 'latin1')
    expect((await passing([odd.subarray(0, 7), odd.subarray(7)])).bytes.equals(odd)).toBeTrue()
  })
})

test('an event passes when it is whole, and does not wait for the next', async () => {
  const client = await openEvents()
  const stream = await eventually(() => events.streams.at(-1))
  for (const text of ['data: 1\n\n', 'data: 2\r\n\r\n', 'data: 3\n\n']) {
    stream.send(text)
    await client.until((it) => it.text.endsWith(text.trimEnd()) || it.text.endsWith(text), 1_000)
  }
  client.close()
  await eventually(() => !stream.open, { timeoutMs: 1_000 })
})

test('a silent stream opens at once', async () => {
  using client = await openEvents()
  await client.until((it) => it.status === 200, 1_000)
  expect(withoutComments(client.text)).toBe('')
})

describe('an upstream that dies in the middle is not taken for one that ended', () => {
  const SSE = 'Content-Type: text/event-stream'
  const deaths: [what: string, die: (it: RawUpstreamRequest) => void][] = [
    ['reset', (it) => it.reset()],
    ['close without the last chunk', (it) => it.socket.end()],
    ['garbage in place of a chunk', (it) => it.socket.end('zz\r\n')],
  ]
  const kinds = [SSE, 'Content-Type: application/octet-stream']
  const rows = deaths.flatMap(([what, die]) => kinds.map((kind) => [what, kind, die] as const))
  test.each(rows)('%s of %s', async (_what, kind, die) => {
    script = (it) => {
      it.begin('200 OK', [kind])
      it.chunk('data: whole\n\n')
    }
    const client = await open(node.gate, { target: '/s/scripted/x', headers: bearer(secret) })
    await client.until((it) => it.text.includes('whole'))
    const last = scripted.last()
    if (last) die(last)
    await client.until((it) => it.ended !== 'open', 1_000)
    expect(client.complete).toBeFalse()
    expect(withoutComments(client.text)).toBe('data: whole\n\n')
  })

  test('a length that is not reached', async () => {
    script = (it) => it.socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nContent-Type: a/b\r\n\r\nshort')
    const answer = await ask(node.gate, { target: '/s/scripted/x', headers: bearer(secret) })
    expect(answer.status === 502 || !answer.complete).toBeTrue()
  })
})

test('a client that goes away frees the upstream', async () => {
  const client = await openEvents()
  await client.until((it) => it.status === 200)
  const stream = events.streams.at(-1)
  client.close()
  await eventually(() => stream?.open === false, { timeoutMs: 1_000 })
  const { json } = await node.api<{ items: unknown[] }>('GET', '/connections')
  expect(json.items).toEqual([])
})

test('a stream that is silent for 15 s gets a comment, one within an event only between events', async () => {
  const before = events.streams.length
  const [silent, halfway] = await Promise.all([openEvents(), openEvents()])
  const streams = await eventually(() => events.streams.length === before + 2 && events.streams.slice(before))
  for (const stream of streams) stream.send('data: first\n\n')
  await Promise.all([silent, halfway].map((client) => client.until((it) => it.text.endsWith('data: first\n\n'))))
  const startedAt = performance.now()
  const opened = [silent.text, halfway.text]
  // Which of the two is which does not matter: one is left within an event, the other is not.
  streams[0]?.send('data: ha')
  const grown = () => [silent, halfway].filter((client, index) => client.text !== opened[index])
  await eventually(() => grown().length === 2, { timeoutMs: 20_000, everyMs: 20 })
  expect(performance.now() - startedAt).toBeGreaterThan(10_000)
  for (const client of [silent, halfway]) {
    expect(client.text).toMatch(/data: first\n\n:[^\n]*\n\n$/)
    expect(client.text).not.toContain('ha')
  }
  streams[0]?.send('lf\n\n')
  await eventually(() => [silent, halfway].some((client) => client.text.endsWith('data: half\n\n')))
  const texts = [silent, halfway].map((client) => withoutComments(client.text)).toSorted()
  expect(texts).toEqual(['data: first\n\n', 'data: first\n\ndata: half\n\n'])
  silent.close()
  halfway.close()
}, 40_000)

test(`${STREAMS} open streams and one more request`, async () => {
  const { id, token } = await node.createToken('many', ['events'])
  const before = events.streams.length
  const clients: RawClient[] = []
  while (clients.length < STREAMS) {
    clients.push(...(await Promise.all(Array.from({ length: 100 }, () => openEvents(token)))))
  }
  await eventually(() => events.open() === STREAMS, { timeoutMs: 15_000 })
  events.broadcast('data: all\n\n')
  await eventually(() => clients.every((client) => client.text.endsWith('data: all\n\n')), { timeoutMs: 10_000 })
  expect(events.streams.length - before).toBe(STREAMS)
  expect((await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status).toBe(200)
  const receipt = await node.revoke({ tokens: [id] })
  expect(receipt.connections.cut).toBe(STREAMS)
  expect(Number(receipt.timings.lastCutMs)).toBeLessThan(1_000)
  await eventually(() => clients.every((client) => client.complete), { timeoutMs: 5_000 })
  expect(clients.filter((client) => !client.text.includes('event: disconnect'))).toEqual([])
  await eventually(() => events.open() === 0, { timeoutMs: 5_000 })
  expect((await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status).toBe(200)
}, 40_000)
