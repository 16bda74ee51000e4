import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { Roster } from '../../src/roster.ts'

type Item = { number: number }

test('a roster holds what was added and not removed, in the order of arrival', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.constant('add'), fc.nat(200)), { maxLength: 400 }), (deeds) => {
      const roster = new Roster<Item>()
      const model = new Set<Item>()
      const all: Item[] = []
      for (const deed of deeds) {
        if (typeof deed === 'string') {
          // Numbers may be left out: what was refused took one too.
          const item = { number: all.length * 2 + 1 }
          all.push(item)
          roster.add(item)
          model.add(item)
        } else {
          const item = all[deed]
          if (item) expect(roster.remove(item)).toBe(model.delete(item))
        }
      }
      expect([...roster]).toEqual([...model])
      expect(roster.size).toBe(model.size)
      for (const item of all) {
        expect(roster.has(item)).toBe(model.has(item))
        expect(roster.get(item.number)).toBe(model.has(item) ? item : undefined)
        expect(roster.get(item.number + 1)).toBeUndefined()
      }
    }),
  )
})

test('another with the same number is not the same', () => {
  const roster = new Roster<Item>()
  roster.add({ number: 1 })
  expect(roster.has({ number: 1 })).toBe(false)
  expect(roster.remove({ number: 1 })).toBe(false)
  expect(roster.size).toBe(1)
})

test('an empty roster has nothing', () => {
  const roster = new Roster<Item>()
  expect([...roster]).toEqual([])
  expect(roster.get(0)).toBeUndefined()
  expect(roster.remove({ number: 0 })).toBe(false)
})

test('thousands go through it, and the few that are in it stay in order', () => {
  const roster = new Roster<Item>()
  const inside: Item[] = []
  for (let number = 1; number <= 10_000; number += 1) {
    const item = { number }
    inside.push(item)
    roster.add(item)
    if (inside.length > 10) roster.remove(inside.shift() as Item)
  }
  expect([...roster]).toEqual(inside)
  expect(roster.size).toBe(10)
})
