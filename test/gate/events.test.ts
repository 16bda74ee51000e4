import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { EventGate, parseEvents } from '../../src/gate/sse.ts'

const encoder = new TextEncoder()
const TAIL_MAX = 64

const lineEnd = fc.constantFrom('\n', '\r\n', '\r')
const line = fc.oneof(
  fc.string({ maxLength: 12 }).map((text) => `data: ${text.replace(/[\r\n]/g, '')}`),
  fc.constantFrom('id: 7', 'event: tick', ': comment', 'retry: 100', 'data', 'data: é€😀'),
)
/** One event with one kind of line end; a stream may mix them from event to event. */
const event = fc
  .tuple(fc.array(line, { minLength: 1, maxLength: 4 }), lineEnd)
  .map(([lines, end]) => lines.map((text) => text + end).join('') + end)
const stream = fc.array(event, { maxLength: 8 }).map((events) => events.join(''))

const cutAt = (bytes: Uint8Array, points: number[]): Uint8Array[] => {
  const sorted = [0, ...points.map((point) => point % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b)
  return sorted
    .slice(1)
    .map((end, index) => bytes.subarray(sorted[index], end))
    .filter((chunk) => chunk.length > 0)
}

/** The reference: whether a text ends with an event's end, by the definition and without cleverness. */
const endsEvent = (text: string): boolean => /(?:\r\n|\n|\r)(?:\r\n|\n|\r)$/.test(text) && !/^(?:\r\n)$/.test(text)

test('what goes on is a prefix that ends with an event, and nothing is lost or changed', () => {
  fc.assert(
    fc.property(stream, fc.string({ maxLength: 20 }), fc.array(fc.nat(), { maxLength: 12 }), (events, rest, points) => {
      const bytes = encoder.encode(events + rest.replace(/[\r\n]/g, ''))
      const gate = new EventGate(1_000_000)
      let sent = Buffer.alloc(0)
      for (const chunk of cutAt(bytes, points)) {
        sent = Buffer.concat([sent, gate.push(chunk)])
        if (!Buffer.from(bytes).subarray(0, sent.length).equals(sent)) return false
        if (sent.length > 0 && !endsEvent(sent.toString('latin1'))) return false
        if (!gate.onBoundary) return false
      }
      return Buffer.concat([sent, gate.rest()]).equals(Buffer.from(bytes))
    }),
    { numRuns: 2_000 },
  )
})

test('whole events are not held back', () => {
  fc.assert(
    fc.property(fc.array(event, { minLength: 1, maxLength: 5 }), (events) => {
      const gate = new EventGate(1_000_000)
      return events.every((text) => Buffer.from(gate.push(encoder.encode(text))).toString() === text)
    }),
  )
})

test('an event over the bound flows on, and the next end is found again', () => {
  const gate = new EventGate(TAIL_MAX)
  expect(gate.push(encoder.encode(`data: ${'x'.repeat(TAIL_MAX - 6)}`)).length).toBe(0)
  expect(gate.onBoundary).toBe(true)
  expect(gate.push(encoder.encode('y')).length).toBe(TAIL_MAX + 1)
  expect(gate.onBoundary).toBe(false)
  expect(Buffer.from(gate.push(encoder.encode('z\n'))).toString()).toBe('z\n')
  expect(gate.onBoundary).toBe(false)
  expect(Buffer.from(gate.push(encoder.encode('\ndata: next'))).toString()).toBe('\n')
  expect(gate.onBoundary).toBe(true)
  expect(Buffer.from(gate.rest()).toString()).toBe('data: next')
})

test('the chunk that ends with an event is passed on uncopied', () => {
  const chunk = encoder.encode('data: 1\n\n')
  expect(new EventGate(TAIL_MAX).push(chunk)).toBe(chunk)
})

test.each([
  ['data: a\n\n', [{ name: 'message', data: 'a' }]],
  ['event: endpoint\r\ndata: /m?s=1\r\n\r\n', [{ name: 'endpoint', data: '/m?s=1' }]],
  ['data:a\rdata: b\r\r', [{ name: 'message', data: 'a\nb' }]],
  [': comment\n\nid: 3\n\n', []],
  ['\ufeffdata: bom\n\n', [{ name: 'message', data: 'bom' }]],
])('%j is read as %j', (text, events) => {
  expect(parseEvents(text)).toEqual(events)
})
