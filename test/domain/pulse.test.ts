import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { limits } from '../../src/limits.ts'
import { Pulse, type PulseSlot } from '../../src/pulse.ts'

const { pulseSlotMs: SLOT_MS, pulseSlots: SLOTS } = limits
const STARTED_AT = Date.parse('2026-11-21T10:00:02Z')
const NOTHING = { connections: null, requests: null, refusals: null, deadTries: null }

/** A pulse with a clock, whose timer fires as the test says. */
const setUp = () => {
  const clock = { now: STARTED_AT }
  const vitals = { connections: 0, requests: 0, refusals: 0, deadTries: 0 }
  const pulse = new Pulse(
    limits,
    () => clock.now,
    () => ({ ...vitals }),
  )
  /** Lets the time pass up to the end of that many slots, and a little longer; the timer fires as it would. */
  const slots = (count: number, lateMs = 3) => {
    for (let slot = 0; slot < count; slot++) {
      clock.now += SLOT_MS - (clock.now % SLOT_MS) + lateMs
      pulse.sample()
    }
  }
  return { pulse, clock, vitals, slots }
}

const sum = (slots: PulseSlot[], name: 'requests' | 'refusals' | 'deadTries') =>
  slots.reduce((total, slot) => total + (slot[name] ?? 0), 0)

test('what is counted stands in the slot in which it was, the gauge as it is at its end', () => {
  const { pulse, vitals, slots } = setUp()
  Object.assign(vitals, { connections: 3, requests: 10, refusals: 2, deadTries: 1 })
  slots(1)
  Object.assign(vitals, { connections: 1, requests: 14 })
  slots(1)
  expect(pulse.slots.slice(-3)).toEqual([
    { at: STARTED_AT - 2_000 - SLOT_MS, ...NOTHING },
    { at: STARTED_AT - 2_000, connections: 3, requests: 10, refusals: 2, deadTries: 1 },
    { at: STARTED_AT - 2_000 + SLOT_MS, connections: 1, requests: 4, refusals: 0, deadTries: 0 },
  ])
})

test('a process that just started says how little it knows', () => {
  const { pulse, vitals, slots } = setUp()
  vitals.requests = 5
  slots(2)
  expect(pulse.perMinute).toEqual({ requests: 5, refusals: 0, deadTries: 0, measuredMs: 2 * SLOT_MS })
  expect(pulse.slots.filter(({ requests }) => requests !== null)).toHaveLength(2)
})

test('the minute is the last sixty seconds', () => {
  const { pulse, vitals, slots } = setUp()
  for (let slot = 1; slot <= 20; slot++) {
    vitals.requests += slot
    slots(1)
  }
  // 9 + 10 + … + 20
  expect(pulse.perMinute).toEqual({ requests: 174, refusals: 0, deadTries: 0, measuredMs: 60_000 })
})

test('nothing is known of the time in which the process slept', () => {
  const { pulse, clock, vitals, slots } = setUp()
  slots(12)
  vitals.requests = 100
  slots(1)
  clock.now += 180_000
  expect(pulse.perMinute).toEqual({ requests: 0, refusals: 0, deadTries: 0, measuredMs: 0 })
  vitals.requests = 107
  slots(1)
  expect(pulse.perMinute).toMatchObject({ requests: 7, measuredMs: SLOT_MS })
  const slept = pulse.slots.slice(-1 - 180_000 / SLOT_MS, -1)
  expect(slept.filter(({ requests }) => requests !== null)).toEqual([])
  expect(sum(pulse.slots, 'requests')).toBe(107)
})

test('whoever asks before the timer misses nothing', () => {
  const { pulse, clock, vitals, slots } = setUp()
  slots(3)
  vitals.requests = 4
  clock.now += SLOT_MS
  expect(pulse.perMinute).toMatchObject({ requests: 4, measuredMs: 4 * SLOT_MS })
  pulse.sample()
  expect(pulse.perMinute).toMatchObject({ requests: 4, measuredMs: 4 * SLOT_MS })
})

test('a clock that is set back, or a timer that comes early, invents nothing', () => {
  const { pulse, clock, vitals, slots } = setUp()
  slots(2, -3)
  vitals.requests = 4
  clock.now -= 3_600_000
  slots(3)
  expect(sum(pulse.slots, 'requests')).toBe(4)
  expect(pulse.slots.filter(({ requests }) => requests !== null)).toHaveLength(2)
  expect(pulse.perMinute).toMatchObject({ requests: 4, measuredMs: 2 * SLOT_MS })
})

test('what is older than ten minutes is forgotten', () => {
  const { pulse, vitals, slots } = setUp()
  vitals.requests = 1
  slots(1)
  slots(SLOTS - 1)
  expect(sum(pulse.slots, 'requests')).toBe(1)
  slots(1)
  expect([sum(pulse.slots, 'requests'), pulse.slots.length]).toEqual([0, SLOTS])
})

test('slots are evenly spaced and have ended, and add up to what was counted, however late the timer is', () => {
  const event = fc.record({
    requests: fc.nat(9),
    deadTries: fc.nat(3),
    // Up to a quarter of the ring, so that nothing is forgotten.
    waitMs: fc.oneof(fc.nat(SLOT_MS), fc.nat(30 * SLOT_MS)),
    asked: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 3 }), (events) => {
      const { pulse, clock, vitals, slots } = setUp()
      for (const { requests, deadTries, waitMs, asked } of events) {
        clock.now += waitMs
        vitals.requests += requests
        vitals.deadTries += deadTries
        if (asked) void pulse.perMinute
        slots(1, waitMs % 900)
      }
      // What was counted after it woke is seen when that slot has ended.
      slots(1)
      const drawn = pulse.slots
      const even = drawn.every(({ at }, index) => index === 0 || at === (drawn[index - 1]?.at ?? 0) + SLOT_MS)
      const ended = (drawn.at(-1)?.at ?? Infinity) + SLOT_MS <= clock.now
      return even && ended && sum(drawn, 'requests') === vitals.requests && sum(drawn, 'deadTries') === vitals.deadTries
    }),
  )
})
