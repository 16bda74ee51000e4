import { expect, test } from 'bun:test'
import { Changes } from '../../../src/gate/stdio/changes.ts'
import { eventually } from '../../support/poll.ts'

const change = (n: number) => ({ jsonrpc: '2.0' as const, method: 'changed', params: { n } })

test('the first of many is told at once, the last a while later, and none between', async () => {
  const told: unknown[] = []
  const changes = new Changes(20, ({ params }) => void told.push(params?.['n']))
  for (let n = 0; n < 100; n += 1) changes.add('a', change(n))
  changes.add('b', change(-1))
  expect(told).toEqual([0, -1])
  await eventually(() => told.length === 3)
  expect(told).toEqual([0, -1, 99])
  // Whoever is heard again after that is not held up by what was.
  await eventually(() => {
    changes.add('a', change(100))
    return told.length === 4
  })
  changes.stop()
})

test('after it was stopped nothing follows', async () => {
  const told: unknown[] = []
  const changes = new Changes(1, ({ params }) => void told.push(params?.['n']))
  changes.add('a', change(0))
  changes.add('a', change(1))
  changes.stop()
  let later = 0
  const timer = setInterval(() => (later += 1), 5)
  await eventually(() => later > 3)
  clearInterval(timer)
  expect(told).toEqual([0])
})
