import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Crashes } from '../../../src/gate/stdio/crashes.ts'
import { limits } from '../../../src/limits.ts'

const { stdioBackoffMs, stdioBackoffMsMax, stdioCrashesMax, stdioShortLifeMs } = limits

/** One process after the other, each started as soon as it may be; the waits after each. */
const inARow = (crashes: Crashes, lives: readonly number[]) => {
  let at = 0
  return lives.map((lifeMs) => {
    const startedAt = Math.max(at, crashes.retryAt(at) ?? at) + 1
    at = startedAt + lifeMs
    const isLoop = crashes.add({ startedAt, endedAt: at, othersLive: false })
    return { isLoop, waitMs: (crashes.retryAt(at) ?? at) - at }
  })
}

test('the wait doubles with each short life in a row, and so many in a row are a loop', () => {
  const crashes = new Crashes(limits)
  const waits = inARow(crashes, Array<number>(stdioCrashesMax).fill(5))
  expect(waits.map(({ waitMs }) => waitMs)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000])
  expect(waits.map(({ isLoop }) => isLoop)).toEqual([false, false, false, false, true])
  expect(crashes.count).toBe(stdioCrashesMax)
})

test('one that lived for long begins anew, as does one that is well', () => {
  const crashes = new Crashes(limits)
  const [, , , , last] = inARow(crashes, [5, 5, 5, 5, stdioShortLifeMs])
  expect(last).toEqual({ isLoop: false, waitMs: stdioBackoffMs })
  inARow(crashes, [5, 5])
  crashes.livesOn()
  expect(crashes.row).toBe(0)
})

test('those that ran side by side and died of one cause are one crash', () => {
  const crashes = new Crashes(limits)
  const dies = (startedAt: number, endedAt: number) => crashes.add({ startedAt, endedAt, othersLive: false })
  for (let place = 0; place < 20; place++) expect(dies(place, 100 + place)).toBeFalse()
  expect(crashes.row).toBe(1)
  expect(crashes.count).toBe(20)
  dies(1_200, 1_201)
  expect(crashes.row).toBe(2)
})

test('while another has lived for long, none of them is a loop', () => {
  const crashes = new Crashes(limits)
  for (let place = 0; place < 3 * stdioCrashesMax; place++) {
    const endedAt = place * 10_000
    expect(crashes.add({ startedAt: endedAt - 5, endedAt, othersLive: true })).toBeFalse()
    expect(crashes.retryAt(endedAt)).toBe(endedAt + stdioBackoffMs)
  }
})

test('what is forgotten holds up nothing, and is counted all the same', () => {
  const crashes = new Crashes(limits)
  inARow(crashes, [5, 5, 5])
  crashes.forget()
  expect(crashes.retryAt(0)).toBeNull()
  expect(inARow(crashes, [5])[0]).toEqual({ isLoop: false, waitMs: stdioBackoffMs })
  expect(crashes.count).toBe(4)
})

test('whatever happens, nobody waits longer than the most, and a loop is short lives one after the other', () => {
  const crash = fc.record({ startedAt: fc.nat(100_000), lifeMs: fc.nat(20_000), othersLive: fc.boolean() })
  fc.assert(
    fc.property(fc.array(crash, { maxLength: 60 }), (given) => {
      const crashes = new Crashes(limits)
      const ends = given
        .map(({ startedAt, lifeMs, othersLive }) => ({ startedAt, endedAt: startedAt + lifeMs, othersLive }))
        .toSorted((a, b) => a.endedAt - b.endedAt)
      for (const [place, end] of ends.entries()) {
        const isLoop = crashes.add(end)
        const waitMs = (crashes.retryAt(end.endedAt) ?? end.endedAt) - end.endedAt
        expect(waitMs).toBeGreaterThanOrEqual(stdioBackoffMs)
        expect(waitMs).toBeLessThanOrEqual(stdioBackoffMsMax)
        const isShort = (one: (typeof ends)[number]) =>
          one.endedAt - one.startedAt < stdioShortLifeMs && !one.othersLive
        const short = ends.slice(0, place + 1).filter(isShort)
        if (isLoop) expect(short.length).toBeGreaterThanOrEqual(stdioCrashesMax)
      }
    }),
  )
})
