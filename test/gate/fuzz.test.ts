import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { answersInEvents, failuresInBody, readRpc } from '../../src/gate/rpc.ts'
import { limits } from '../../src/limits.ts'
import { changeEvents, EventGate, parseEvents } from '../../src/gate/sse.ts'
import { readStrict } from '../../src/gate/strict.ts'

/** What is read of streams and bodies, given anything: it loses nothing, and throws at nothing. */

const TAIL_MAX = 24

/** Bytes that look like events, or like the JSON-RPC in them, often enough, and like nothing at all as well. */
const piece = fc.oneof(
  fc.constantFrom(
    '\n',
    '\r',
    '\r\n',
    '\n\n',
    '\r\r',
    '\r\n\r\n',
    '\n\r',
    ':',
    'data',
    'data:',
    'data: ',
    'event: ',
    'id',
  ),
  fc.constantFrom(
    '\ufeff',
    '\0',
    'é😀',
    '{"jsonrpc":"2.0","id":1,"result":{}}',
    '{"jsonrpc":"2.0","id":1,"method":"m"}',
  ),
  fc.constantFrom('"error"', '"isError":true', '[', ']', '{', '}', ',', '"jsonrpc"', '\\', '"', '1e999', '\\ud800'),
  fc.json(),
  fc.string({ maxLength: 40 }),
)
const bytes = fc.oneof(
  { weight: 4, arbitrary: fc.array(piece, { maxLength: 30 }).map((parts) => Buffer.from(parts.join(''))) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((array) => Buffer.from(array)) },
)
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 })

const chunksOf = (whole: Buffer, lengths: number[]): Buffer[] => {
  const chunks: Buffer[] = []
  let at = 0
  for (const length of lengths) {
    if (at < whole.length) chunks.push(whole.subarray(at, at + length))
    at += length
  }
  if (at < whole.length) chunks.push(whole.subarray(at))
  return chunks
}

/** By the definition alone: what stands at the end is an empty line, and its line end is not the half of one. */
const endsEvent = (text: string): boolean =>
  /(?:\r\n|\n|\r)(?:\r\n|\n|\r)$/.test(text) && !/(?:^|[^\r\n])\r\n$/.test(text)

test('any bytes in any chunks come out as they went in, and on a boundary whenever it is said to be one', () => {
  fc.assert(
    fc.property(bytes, sizes, fc.constantFrom(0, TAIL_MAX, 1_000_000), (whole, lengths, tailMax) => {
      const gate = new EventGate(tailMax)
      let passed = Buffer.alloc(0)
      let held = 0
      for (const chunk of chunksOf(whole, lengths)) {
        const out = gate.push(chunk)
        held += chunk.length - out.length
        passed = Buffer.concat([passed, out])
        expect(whole.subarray(0, passed.length).equals(passed)).toBe(true)
        // What is left of a chunk after its last event is held whatever its size.
        expect(held).toBeLessThanOrEqual(Math.max(tailMax, chunk.length))
        if (gate.onBoundary && passed.length > 0) expect(endsEvent(passed.toString('latin1'))).toBe(true)
      }
      expect(Buffer.concat([passed, gate.rest()]).equals(whole)).toBe(true)
    }),
    { numRuns: 5_000 },
  )
})

test('nothing that is read can be made to throw, and what is not changed keeps its bytes', () => {
  fc.assert(
    fc.property(bytes, (whole) => {
      parseEvents(whole.toString())
      readRpc(whole)
      readStrict(whole)
      answersInEvents(whole)
      failuresInBody(whole)
      expect(changeEvents(whole, () => null)).toBe(whole)
      const changed = Buffer.from(changeEvents(whole, ({ data }) => JSON.stringify(data)))
      // An event stays an event: as many go out as came in.
      expect(parseEvents(changed.toString()).length).toBe(parseEvents(whole.toString()).length)
    }),
    { numRuns: 5_000 },
  )
})

test.each([
  ['[', ']'],
  ['{"a":', '}'],
])('what is nested in %s as deep as a body may be is read, or not, and never throws', (open, close) => {
  const nested = (bytesMax: number) => {
    const depth = Math.floor((bytesMax - 100) / (open.length + close.length))
    return `${open.repeat(depth)}1${close.repeat(depth)}`
  }
  const body = Buffer.from(`{"jsonrpc":"2.0","id":1,"method":"m","params":${nested(limits.rpcBodyBytesMax)}}`)
  expect(readRpc(body)?.requests?.length ?? 0).toBeLessThanOrEqual(1)
  expect(readStrict(body)).toBeNull()
  expect(answersInEvents(Buffer.from(`data: {"id":1,"result":${nested(limits.eventTailBytesMax)}}\n\n`))).toHaveLength(
    1,
  )
  expect(failuresInBody(Buffer.from(`{"id":1,"error":${nested(limits.wholeBodyBytesMax)}}`))).toHaveLength(1)
})
