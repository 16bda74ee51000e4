import { expect } from 'bun:test'
import { gzipSync } from 'node:zlib'
import type { RawClient, RawRequest } from '../support/raw.ts'
import { parseEvents } from '../support/sse.ts'
import type { RawUpstreamRequest } from '../support/upstreams/raw.ts'

/** Why a cut happened, as the client may see it. */
export type Reason = { type: string | RegExp; message?: string; refusedWith: readonly number[] }

/** One kind of thing in flight: how it is opened, and how the contract says that it ends. */
export type Kind = {
  what: string
  request: Omit<RawRequest, 'target' | 'headers'> & { headers?: Record<string, string> }
  upstream: (it: RawUpstreamRequest) => void
  /** Whether all that is to arrive before the cut has arrived. */
  begun: (client: RawClient, upstream: RawUpstreamRequest) => boolean
  ends: (client: RawClient, reason: Reason) => void
}

const SSE = ['Content-Type: text/event-stream']
const JSON_TYPE = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' }
const call = (id: number | string) => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'slow' } })
const post = (message: unknown) => ({ method: 'POST', headers: JSON_TYPE, body: JSON.stringify(message) })
const inChunks = (text: string) =>
  [text.slice(0, 5), text.slice(5), ''].map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')
const progress = 'event: message\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
const result = (id: number | string) => `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: {} })}\n\n`
const tail = `data: ${'x'.repeat(80_000)}`

const streaming =
  (...chunks: (string | Uint8Array)[]) =>
  (it: RawUpstreamRequest) => {
    it.begin('200 OK', SSE)
    chunks.forEach((chunk) => it.chunk(chunk))
  }
const received = (text: string) => (client: RawClient) => client.text === text

/** What came after `before`, which must have come first, as events. */
const eventsAfter = (client: RawClient, before: string) => {
  expect(client.text.slice(0, before.length)).toBe(before)
  const rest = client.text.slice(before.length)
  expect(rest).toMatch(/^$|\n\n$/)
  return parseEvents(rest).map(({ event, data }) => ({ event, data: JSON.parse(data) as unknown }))
}
const errorFor = (id: number | string, { type, message }: Reason) => ({
  event: 'message',
  data: {
    jsonrpc: '2.0',
    id,
    error: {
      code: -32080,
      message: message ?? expect.stringMatching(/\w+/),
      data: { type: expect.stringMatching(type) },
    },
  },
})
const disconnect = ({ type }: Reason) => ({
  event: 'disconnect',
  data: { error: { type: expect.stringMatching(type), message: expect.stringMatching(/\w+/) } },
})

const endsWithErrors = (before: string, ids: (number | string)[]) => (client: RawClient, reason: Reason) => {
  expect(eventsAfter(client, before)).toEqual(ids.map((id) => errorFor(id, reason)))
  expect(client.complete).toBeTrue()
}
const endsWithDisconnect = (before: string) => (client: RawClient, reason: Reason) => {
  expect(eventsAfter(client, before)).toEqual([disconnect(reason)])
  expect(client.complete).toBeTrue()
}
const isReset = (before: string | Uint8Array) => (client: RawClient) => {
  expect(client.ended).toBe('reset')
  expect(client.complete).toBeFalse()
  expect(client.bytes.equals(Buffer.from(before))).toBeTrue()
}
const isRefused = (client: RawClient, { refusedWith, type }: Reason) => {
  expect(client.status).toBeOneOf([...refusedWith])
  expect(client.head?.get('content-type')).toStartWith('application/problem+json')
  if (client.status === 401) expect(String(type)).toContain('token')
}

const zipped = gzipSync('data: zipped\n\n')
const whole = 'id: 1\ndata: whole\n\n'

export const KINDS: Kind[] = [
  {
    what: 'an MCP call',
    request: post(call(7)),
    upstream: streaming(progress),
    begun: received(progress),
    ends: endsWithErrors(progress, [7]),
  },
  {
    what: 'an MCP call before its first event',
    request: post(call('first')),
    upstream: streaming(),
    begun: (client) => client.status === 200,
    ends: endsWithErrors('', ['first']),
  },
  {
    what: 'an MCP call sent in chunks',
    request: {
      method: 'POST',
      headers: { ...JSON_TYPE, 'Transfer-Encoding': 'chunked' },
      body: inChunks(JSON.stringify(call(9))),
    },
    upstream: streaming(progress),
    begun: (client, upstream) => upstream.bodyComplete && client.text === progress,
    ends: endsWithErrors(progress, [9]),
  },
  {
    what: 'a batch of which one is answered',
    request: post([call(1), call('1'), { jsonrpc: '2.0', method: 'notifications/x' }, call(2)]),
    upstream: streaming(result(1)),
    begun: received(result(1)),
    ends: endsWithErrors(result(1), ['1', 2]),
  },
  {
    what: 'an MCP answer that is given, its stream still open',
    request: post(call(3)),
    upstream: streaming(result(3)),
    begun: received(result(3)),
    ends: endsWithErrors(result(3), []),
  },
  {
    what: 'an MCP call within an event',
    request: post(call(4)),
    upstream: streaming(progress, 'data: {"jsonrpc":"2.0","id":4,"res'),
    // The half event must not be there: what can't be finished is not begun.
    begun: received(progress),
    ends: endsWithErrors(progress, [4]),
  },
  {
    what: 'an MCP call within an event over 64 KiB',
    request: post(call(5)),
    upstream: streaming(tail),
    begun: received(tail),
    ends: (client, reason) => {
      expect(client.text.slice(0, tail.length)).toBe(tail)
      expect(client.text.slice(tail.length)).toMatch(/^(\r\n|\n){2}/)
      endsWithErrors(client.text.slice(0, client.text.indexOf('\n\n') + 2), [5])(client, reason)
    },
  },
  {
    what: 'an MCP call whose body is too large to be read',
    request: post({ ...call(6), padding: 'x'.repeat(1_100_000) }),
    upstream: streaming(progress),
    begun: (client, upstream) => upstream.bodyComplete && client.text === progress,
    ends: isReset(progress),
  },
  {
    what: 'an SSE stream',
    request: {},
    upstream: streaming(whole),
    begun: received(whole),
    ends: endsWithDisconnect(whole),
  },
  {
    what: 'a silent SSE stream',
    request: {},
    upstream: streaming(),
    begun: (client) => client.status === 200,
    ends: endsWithDisconnect(''),
  },
  {
    what: 'an SSE answer to a POST that is no JSON-RPC',
    request: post({ model: 'm', stream: true }),
    upstream: streaming(whole),
    begun: received(whole),
    ends: endsWithDisconnect(whole),
  },
  {
    what: 'an SSE stream within an event',
    request: {},
    upstream: streaming(`${whole}data: ha`, 'lf'),
    begun: received(whole),
    ends: endsWithDisconnect(whole),
  },
  {
    what: 'an SSE stream with CR endings within an event',
    request: {},
    upstream: streaming('data: one\r\r', 'data: tw'),
    begun: (client) => client.text.startsWith('data: one\r'),
    ends: (client, reason) => {
      expect(client.text).not.toContain('tw')
      expect(parseEvents(client.text)).toMatchObject([{ data: 'one' }, { event: 'disconnect' }])
      expect(client.text).toMatch(typeof reason.type === 'string' ? reason.type : /error/)
      expect(client.complete).toBeTrue()
    },
  },
  {
    what: 'an SSE stream within an event over 64 KiB',
    request: {},
    upstream: streaming(tail),
    begun: received(tail),
    ends: isReset(tail),
  },
  {
    what: 'an encoded SSE stream',
    request: {},
    upstream: (it) => {
      it.begin('200 OK', [...SSE, 'Content-Encoding: gzip'])
      it.chunk(zipped)
    },
    begun: (client) => client.bytes.equals(zipped),
    ends: isReset(zipped),
  },
  {
    what: 'a download',
    request: {},
    upstream: (it) => {
      it.begin('200 OK', ['Content-Type: application/octet-stream'])
      it.chunk('some')
    },
    begun: received('some'),
    ends: isReset('some'),
  },
  {
    what: 'a download of known length',
    request: {},
    upstream: (it) => {
      it.write('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"a":')
    },
    begun: received('{"a":'),
    ends: isReset('{"a":'),
  },
  {
    what: 'a request without an answer yet',
    request: {},
    upstream: () => {},
    begun: () => true,
    ends: isRefused,
  },
  {
    what: 'an MCP call without an answer yet',
    request: post(call(8)),
    upstream: () => {},
    begun: (_client, upstream) => upstream.bodyComplete,
    ends: isRefused,
  },
  {
    what: 'an upload',
    request: { method: 'POST', headers: { 'Content-Length': '5000000' }, body: 'x'.repeat(1000) },
    upstream: () => {},
    begun: (_client, upstream) => upstream.bodyBytes === 1000,
    ends: isRefused,
  },
]
