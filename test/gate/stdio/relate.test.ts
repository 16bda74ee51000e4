import { describe, expect, test } from 'bun:test'
import type { JSONRPCMessage, Transport } from '@modelcontextprotocol/server'
import fc from 'fast-check'
import { roomsOf } from '../../../src/gate/stdio/room.ts'
import type { Link } from '../../../src/gate/stdio/link.ts'
import { StreamableSession } from '../../../src/gate/stdio/session.ts'
import { parseEvents } from '../../../src/gate/sse.ts'
import { type Limits, limits } from '../../../src/limits.ts'

/** The end of a line at which a test itself is the server. */
class Line implements Link {
  onmessage?: Transport['onmessage']
  readonly heard: JSONRPCMessage[] = []
  readonly #ended = Promise.withResolvers<Awaited<Link['ended']>>()
  readonly ended = this.#ended.promise
  uses = 0
  stopped = false
  paused = false
  start = async () => {}
  close = async () => {}
  touch = () => {}
  send = async (message: JSONRPCMessage) => void this.heard.push(message)
  pause = () => void (this.paused = true)
  resume = () => void (this.paused = false)
  stop = () => void (this.stopped = true)
  use = () => {
    this.uses += 1
    return () => void (this.uses -= 1)
  }
  say = (message: Record<string, unknown>) => this.onmessage?.({ jsonrpc: '2.0', ...message } as JSONRPCMessage)
  die = (detail: string) => this.#ended.resolve({ code: 1, signal: null, crashed: true, detail })
}

const REVISION = '2025-11-25'

type Stream = { name: string; reader: ReadableStreamDefaultReader<Uint8Array>; lastId: string | null; ended: boolean }
type Seen = { stream: string; message: Record<string, unknown> }

/** A client that reads all it is given at once, and remembers where it was when it leaves a stream. */
const startSession = async (small: Partial<Limits> = {}) => {
  const link = new Line()
  let closed = 0
  const own = { ...limits, ...small }
  const session = new StreamableSession(link, own, roomsOf(own), () => (closed += 1))
  const seen: Seen[] = []
  const request = (method: string, headers: Record<string, string>) =>
    new Request('http://stdio.invalid/mcp', {
      method,
      headers: { 'mcp-session-id': session.id, 'mcp-protocol-version': REVISION, ...headers },
    })
  const read = (name: string, response: Response): Stream => {
    const stream: Stream = { name, reader: response.body!.getReader(), lastId: null, ended: false }
    void (async () => {
      for (;;) {
        const { done, value } = await stream.reader.read()
        if (done) return (stream.ended = true)
        const text = new TextDecoder().decode(value)
        stream.lastId = [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? stream.lastId
        for (const { data } of parseEvents(text)) if (data) seen.push({ stream: name, message: JSON.parse(data) })
      }
    })()
    return stream
  }
  const handlePost = (body: unknown, signal?: AbortSignal) =>
    session.handle(
      new Request(
        request('POST', { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }),
        { signal },
      ),
      body,
    )
  const post = async (name: string, message: Record<string, unknown>) => {
    const response = await handlePost({ jsonrpc: '2.0', ...message })
    return response.status === 200 ? read(name, response) : null
  }
  const get = async (name: string, lastId: string | null = null): Promise<Stream | number> => {
    const resuming: Record<string, string> = lastId === null ? {} : { 'last-event-id': lastId }
    const response = await session.handle(request('GET', { accept: 'text/event-stream', ...resuming }))
    return response.ok ? read(name, response) : response.status
  }
  const params = { protocolVersion: REVISION, capabilities: {}, clientInfo: { name: 'test', version: '1' } }
  const initializing = session.initialize(
    new Request('http://stdio.invalid/mcp', {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    }),
    { jsonrpc: '2.0', id: 'init', method: 'initialize', params },
  )
  await Bun.sleep(0)
  link.say({ id: 'init', result: {} })
  read('init', await initializing)
  await Bun.sleep(0)
  seen.length = 0
  link.heard.length = 0
  return { link, session, seen, get, post, handlePost, closed: () => closed }
}

const isCancelled = ({ error }: Seen['message']) => (error as { code: number } | undefined)?.code === -32800
const serialOf = ({ message }: Seen) => ((message.params ?? message.result) as { serial: number } | undefined)?.serial

/** Everything that is under way has happened: nothing here waits for a timer, a process or a socket. */
const settled = async () => {
  for (let turn = 0; turn < 3; turn += 1) await Bun.sleep(0)
}

const OPS = [
  ...['get', 'leave get', 'resume get', 'call', 'call', 'leave call', 'resume call', 'cancel call'],
  ...['answer', 'answer', 'progress', 'progress', 'log', 'ask', 'give up', 'changed'],
] as const
type Op = (typeof OPS)[number]

test('whatever a client leaves and takes up again: each message arrives, once, and where it belongs', async () => {
  const ops = fc.array(fc.tuple(fc.constantFrom<Op>(...OPS), fc.nat(1_000)), { maxLength: 40 })
  await fc.assert(
    fc.asyncProperty(ops, async (steps) => {
      const { link, seen, get, post } = await startSession()
      const calls: { id: number; stream: Stream; open: boolean; answered: boolean; cancelled: boolean }[] = []
      const asked: number[] = []
      const expected: { serial: number; call: number | null; answerTo?: number }[] = []
      let standalone: Stream | null = null
      let left: Stream | null = null
      let serial = 0
      const pick = <T>(from: readonly T[], by: number): T | undefined => from[by % Math.max(1, from.length)]
      const say = (message: Record<string, unknown>, call: number | null) => {
        serial += 1
        expected.push({ serial, call })
        const params = { ...(message.params as object), serial }
        link.say({ ...message, params })
      }
      for (const [op, by] of steps) {
        // What was cancelled and left is over.
        const unanswered = calls.filter(({ answered, cancelled, open: isOpen }) => !answered && (isOpen || !cancelled))
        const call = pick(unanswered, by)
        if (op === 'get' && !standalone) standalone = (await get('standalone')) as Stream
        else if (op === 'leave get' && standalone) {
          left = standalone
          await standalone.reader.cancel()
          standalone = null
        } else if (op === 'resume get' && !standalone && left?.lastId) {
          standalone = (await get('standalone', left.lastId)) as Stream
          standalone.lastId ??= left.lastId
        } else if (op === 'call') {
          const id = calls.length
          const stream = await post(`call ${id}`, {
            id,
            method: 'tools/call',
            params: { name: 'x', _meta: { progressToken: id } },
          })
          calls.push({ id, stream: stream!, open: true, answered: false, cancelled: false })
        } else if (op === 'leave call' && call?.open) {
          call.open = false
          await call.stream.reader.cancel()
        } else if (op === 'resume call' && call && !call.open) {
          const { name, lastId } = call.stream
          call.stream = (await get(name, lastId)) as Stream
          call.stream.lastId ??= lastId
          call.open = true
        } else if (op === 'cancel call' && call && !call.cancelled) {
          call.cancelled = true
          await post('', { method: 'notifications/cancelled', params: { requestId: call.id } })
        } else if (op === 'answer' && call) {
          call.answered = true
          serial += 1
          expected.push({ serial, call: call.id })
          link.say({ id: call.id, result: { serial } })
        } else if (op === 'progress' && call) {
          say({ method: 'notifications/progress', params: { progressToken: call.id, progress: serial } }, call.id)
        } else if (op === 'log') {
          say({ method: 'notifications/message', params: { level: 'info', data: 'x' } }, null)
        } else if (op === 'ask') {
          asked.push(serial)
          say({ id: `s${serial}`, method: 'roots/list' }, null)
        } else if (op === 'give up' && asked.length > 0) {
          say({ method: 'notifications/cancelled', params: { requestId: `s${pick(asked, by)}` } }, null)
        } else if (op === 'changed') {
          say({ method: 'notifications/tools/list_changed' }, null)
        }
        await settled()
        // What is about no call waits for no client that is there.
        const somebody = standalone ?? calls.find((one) => one.open && !one.answered && !one.cancelled)
        const unseen = expected.filter(
          ({ serial, call }) => call === null && !seen.some((one) => serialOf(one) === serial),
        )
        if (somebody) expect(unseen).toEqual([])
      }
      // In the end the client comes back for all that it left.
      if (!standalone) await get('standalone', left?.lastId ?? null)
      for (const { open, stream } of calls) if (!open && stream.lastId) await get(stream.name, stream.lastId)
      await settled()
      expect(
        seen
          .filter(({ message }) => !isCancelled(message))
          .map(serialOf)
          .toSorted((a, b) => Number(a) - Number(b)),
      ).toEqual(expected.map(({ serial }) => serial))
      for (const { serial, call } of expected) {
        if (call === null) continue
        expect(seen.find((one) => serialOf(one) === serial)?.stream).toBe(`call ${call}`)
      }
      // In order, as far as one stream goes; what is about no call may have waited for any stream, and comes after what
      // the one that opened had missed.
      const apart = new Set(expected.filter(({ call }) => call === null).map((one) => one.serial))
      for (const name of new Set(seen.map(({ stream }) => stream))) {
        const onIt = seen.filter(({ stream, message }) => stream === name && !isCancelled(message)).map(serialOf)
        for (const isApart of [false, true]) {
          const serials = onIt.filter((one) => apart.has(Number(one)) === isApart)
          expect(serials).toEqual(serials.toSorted((a, b) => Number(a) - Number(b)))
        }
      }
    }),
    { numRuns: 500 },
  )
}, 60_000)

describe('what is kept for a client that is not there', () => {
  const say = (link: Line, serial: number, size = 0) =>
    link.say({ method: 'notifications/message', params: { serial, filler: 'x'.repeat(size) } })

  test('is so many messages, the latest', async () => {
    const { link, seen, get } = await startSession({ stdioEventsMax: 3 })
    for (const serial of [1, 2, 3, 4]) say(link, serial)
    await settled()
    await get('standalone')
    await settled()
    expect(seen.map(serialOf)).toEqual([2, 3, 4])
  })

  test('is so many bytes, and one that is larger drives out no other', async () => {
    const { link, seen, get } = await startSession({ stdioEventBytesMax: 1_000 })
    say(link, 1, 500)
    say(link, 2, 1_000)
    say(link, 3, 300)
    say(link, 4, 300)
    await settled()
    await get('standalone')
    await settled()
    expect(seen.map(serialOf)).toEqual([3, 4])
  })

  test.each([
    ['so many events of its streams', { stdioEventsMax: 3 }, 0, [3, 4, 5]],
    ['so many bytes of them', { stdioEventBytesMax: 1_000 }, 300, [4, 5]],
  ])('is %s', async (_, small, size, expected) => {
    const { link, seen, get, post } = await startSession(small)
    const call = await post('call', { id: 1, method: 'tools/call', params: { name: 'x', _meta: { progressToken: 1 } } })
    await settled()
    await call?.reader.cancel()
    for (const serial of [1, 2, 3, 4, 5])
      link.say({
        method: 'notifications/progress',
        params: { progressToken: 1, progress: serial, serial, filler: 'x'.repeat(size) },
      })
    await settled()
    await get('call', call?.lastId)
    await settled()
    expect(seen.map(serialOf)).toEqual(expected)
  })
})

test('above what a client may leave unread its server waits, and goes on below the half', async () => {
  const { link, handlePost } = await startSession({ stdioUnreadBytesMax: 2_000 })
  const progress = (filler: number) =>
    link.say({ method: 'notifications/progress', params: { progressToken: 1, filler: 'x'.repeat(filler) } })
  const params = { name: 'x', _meta: { progressToken: 1 } }
  const answer = await handlePost({ jsonrpc: '2.0', id: 1, method: 'tools/call', params })
  const reader = answer.body!.getReader()
  const eventBytes = (await (progress(0), settled(), reader.read(), reader.read())).value!.length
  progress(2_000 - eventBytes)
  await settled()
  expect(link.paused).toBeFalse()
  progress(0)
  await settled()
  expect(link.paused).toBeTrue()
  await reader.read()
  expect(link.paused).toBeFalse()
  // Who goes away leaves nothing unread.
  progress(3_000)
  await settled()
  expect(link.paused).toBeTrue()
  await reader.cancel()
  expect(link.paused).toBeFalse()
  expect(link.uses).toBe(0)
})

test('what was cut on its way does not go on, and nobody waits for it', async () => {
  const { link, handlePost } = await startSession({ rpcIdsMax: 1 })
  for (const id of [1, 2]) {
    const cut = new AbortController()
    const answer = handlePost({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'x' } }, cut.signal)
    cut.abort()
    await (await answer).body?.cancel()
  }
  expect(link.heard).toEqual([])
  await handlePost({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'x' } })
  expect(link.heard).toMatchObject([{ id: 3 }])
})
