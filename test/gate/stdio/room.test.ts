import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { SessionEvents } from '../../../src/gate/stdio/events.ts'
import { Outbox, Unread } from '../../../src/gate/stdio/outbox.ts'
import { Room } from '../../../src/gate/stdio/room.ts'
import { limits } from '../../../src/limits.ts'

const message = (bytes: number) => ({ jsonrpc: '2.0' as const, method: 'x', params: { text: 'x'.repeat(bytes) } })
const sizeOf = (bytes: number): number => JSON.stringify(message(bytes)).length

/** The numbers of the events that a client which saw none is given again. */
const replayed = async (events: SessionEvents): Promise<number[]> => {
  const numbers: number[] = []
  const send = async (id: string) => void numbers.push(Number.parseInt(id, 10))
  await events.replayEventsAfter('0-s', { send })
  return numbers
}

test('what fits in all is kept; a byte more, and the oldest goes, whosever it is', async () => {
  const room = new Room(3 * sizeOf(100))
  const [a, b] = [0, 1].map(() => new SessionEvents(limits, room, () => undefined)) as [SessionEvents, SessionEvents]
  await a.storeEvent('s', message(100))
  await b.storeEvent('s', message(100))
  await b.storeEvent('s', message(100))
  expect([await replayed(a), await replayed(b)]).toEqual([[1], [1, 2]])
  await b.storeEvent('s', message(0))
  expect([await replayed(a), await replayed(b)]).toEqual([[], [1, 2, 3]])
  b.clear()
  expect([await replayed(b), room.bytes]).toEqual([[], 0])
})

test('a byte more unread than all may have, and the answer that waits for longest breaks off', async () => {
  const room = new Room(200)
  const turns: string[] = []
  const source = { pause: () => turns.push('pause'), resume: () => turns.push('resume') }
  const done: string[] = []
  const answer = (name: string) =>
    new Outbox(new Unread(source, { ...limits, stdioUnreadBytesMax: 90 }, room), () => done.push(name))
  const [slow, other] = [answer('slow'), answer('other')]
  slow.push(new Uint8Array(100))
  other.push(new Uint8Array(100))
  expect([room.bytes, done, turns]).toEqual([200, [], ['pause', 'pause']])
  other.push(new Uint8Array(1))
  // Nothing of it is held any more, and its server is read again.
  expect([room.bytes, done, turns]).toEqual([101, ['slow'], ['pause', 'pause', 'resume']])
  slow.push(new Uint8Array(1))
  other.end()
  expect((await new Response(other.body).bytes()).length).toBe(101)
  expect(await new Response(slow.body).bytes().then(() => 'whole', String)).toContain('too slowly')
  expect([room.bytes, done]).toEqual([0, ['slow', 'other']])
})

test('however sessions come, speak and go, what is kept is what can be read again, and within the limits', async () => {
  const speaking = fc.array(fc.tuple(fc.nat(3), fc.integer({ min: -1, max: 300 })), { maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(speaking, async (steps) => {
      const own = { ...limits, stdioEventsMax: 5, stdioEventBytesMax: 700 }
      const room = new Room(1_500)
      const sessions = [0, 1, 2, 3].map(() => new SessionEvents(own, room, () => undefined))
      for (const [at, bytes] of steps) {
        // Less than nothing: it ends.
        if (bytes < 0) sessions[at]?.clear()
        else await sessions[at]?.storeEvent('s', message(bytes))
        let kept = 0
        for (const events of sessions) {
          const send = async (_: string, again: unknown) => void (kept += JSON.stringify(again).length)
          await events.replayEventsAfter('0-s', { send })
        }
        expect(room.bytes).toBe(kept)
        expect(kept).toBeLessThanOrEqual(1_500)
      }
    }),
    { numRuns: 100 },
  )
})
