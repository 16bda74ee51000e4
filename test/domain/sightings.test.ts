import { expect, test } from 'bun:test'
import { Activity } from '../../src/activity.ts'
import { limits } from '../../src/limits.ts'
import { Sightings } from '../../src/sightings.ts'
import { rowAt } from '../support/activity-row.ts'

const NOW = Date.parse('2026-11-21T10:00:00Z')
const HOUR_MS = 3_600_000

const setUp = (own: Partial<typeof limits> = {}) => {
  const clock = { now: NOW }
  const sightings = new Sightings({ ...limits, ...own }, () => clock.now)
  const note = (tokenId: string, address: string, lastAt = clock.now) => sightings.note({ tokenId, address, lastAt })
  return { clock, sightings, note }
}

test('each address once, the last seen first', () => {
  const { sightings, note } = setUp()
  note('a', '192.0.2.1', NOW - 5)
  note('a', '192.0.2.2', NOW - 3)
  note('a', '192.0.2.1', NOW - 1)
  // What is read from the disk at the start may come after what was seen since.
  note('a', '192.0.2.1', NOW - 9)
  expect(sightings.addressesOf('a')).toEqual([
    { address: '192.0.2.1', lastAt: NOW - 1 },
    { address: '192.0.2.2', lastAt: NOW - 3 },
  ])
  expect(sightings.addressesOf('b')).toEqual([])
})

test('a token used from many addresses is found, as long as they are of the last day', () => {
  const { clock, sightings, note } = setUp()
  for (let n = 1; n < limits.manyAddresses; n++) note('a', `192.0.2.${n}`, NOW - n * HOUR_MS)
  expect([...sightings.fromMany()]).toEqual([])
  note('a', '192.0.2.99')
  note('b', '192.0.2.99')
  expect([...sightings.fromMany()]).toEqual(['a'])
  clock.now += limits.sightingsMs - (limits.manyAddresses - 1) * HOUR_MS
  expect([...sightings.fromMany()]).toEqual([])
  note('a', '192.0.2.100')
  expect([...sightings.fromMany()]).toEqual(['a'])
})

test('of a crowd the last seen are remembered', () => {
  const { sightings, note } = setUp({ sightingAddressesMax: 5 })
  for (let n = 0; n < 100; n++) note('a', `192.0.2.${n}`, NOW - 100 + n)
  note('a', 'too old to matter', NOW - 100)
  expect(sightings.addressesOf('a').map(({ address }) => address)).toEqual(
    [99, 98, 97, 96, 95].map((n) => `192.0.2.${n}`),
  )
})

test('what is older than a day is not taken in, and is forgotten', () => {
  const { clock, sightings, note } = setUp({ tokensSlice: 1 })
  note('a', '192.0.2.1', NOW - limits.sightingsMs)
  expect([...sightings.prune()]).toHaveLength(0)
  expect(sightings.addressesOf('a')).toEqual([])
  note('a', '192.0.2.1')
  note('b', '192.0.2.2')
  clock.now += limits.sightingsMs - 1
  note('b', '192.0.2.3')
  clock.now += 1
  expect([...sightings.prune()]).toHaveLength(2)
  expect(sightings.addressesOf('a')).toEqual([])
  expect(sightings.addressesOf('b')).toEqual([{ address: '192.0.2.3', lastAt: clock.now - 1 }])
  // It was forgotten, and not only left out: the first slice is the last.
  expect([...sightings.prune()]).toHaveLength(1)
})

test('a call is seen at once, and again in the next minute', () => {
  const { clock, sightings } = setUp()
  const activity = new Activity(limits, (sighting) => sightings.note(sighting))
  const call = rowAt(NOW)
  activity.called(call, 0, clock.now)
  expect(sightings.addressesOf(call.tokenId)).toEqual([{ address: call.address, lastAt: NOW }])
  clock.now += 60_000
  activity.flush({ addActivity: () => {} }, clock.now)
  activity.called(call, 0, clock.now)
  expect(sightings.addressesOf(call.tokenId)).toEqual([{ address: call.address, lastAt: clock.now }])
})
