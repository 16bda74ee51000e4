import { expect, test } from 'bun:test'
import type { Cluster } from '../../src/cluster-view.ts'
import { alone } from '../../src/alone.ts'
import { Placement } from '../../src/placement.ts'
import { stdioSpec } from '../../src/stdio.ts'

const NAMES: Record<string, string> = { node_a: 'a', node_b: 'b' }
const clustered: Cluster = { ...alone, clustered: true, memberName: (id) => NAMES[id] ?? null }

const on = (node: string, everywhere = false) => ({ stdio: stdioSpec({ command: ['server'], everywhere }, node) })
const placement = (cluster: Cluster, formerly: string[] = []) => new Placement({ node: 'node_b', formerly, cluster })

test('in a cluster a command runs where it was added, or everywhere, and one with a URL has no place', () => {
  const b = placement(clustered)
  expect(b.elsewhere(on('node_a'))).toEqual({ name: 'a' })
  expect(b.nameOf(on('node_a'))).toBe('a')
  expect(b.elsewhere(on('node_b'))).toBeNull()
  expect(b.nameOf(on('node_b'))).toBe('b')
  expect([b.elsewhere(on('node_a', true)), b.nameOf(on('node_a', true))]).toEqual([null, null])
  expect([b.elsewhere({ stdio: null }), b.nameOf({ stdio: null })]).toEqual([null, null])
})

test('what was added on a node that left runs nowhere', () => {
  expect(placement(clustered).elsewhere(on('node_gone'))).toEqual({ name: null })
})

test('where it ran when its folder had another id, it runs now, and not on a stranger', () => {
  const restored = placement(clustered, ['node_a', 'node_old'])
  expect(restored.elsewhere(on('node_old'))).toBeNull()
  expect(restored.nameOf(on('node_old'))).toBe('b')
  expect(restored.elsewhere(on('node_gone'))).toEqual({ name: null })
})

test('of a folder that was copied, the one that is a member goes on running what it ran', () => {
  const copied = placement(clustered, ['node_a'])
  expect(copied.elsewhere(on('node_a'))).toEqual({ name: 'a' })
  expect(copied.nameOf(on('node_a'))).toBe('a')
})

test('a node that stands alone runs all', () => {
  expect(placement(alone).elsewhere(on('node_a'))).toBeNull()
  expect(placement(alone).nameOf(on('node_b'))).toBeNull()
})
