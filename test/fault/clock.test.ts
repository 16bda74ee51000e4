import { expect, test } from 'bun:test'
import { hasFaketime } from '../support/faketime.ts'
import { run } from './clock.ts'

test('the wall clock is set forward and back: expiry follows it, nothing else does', async () => {
  const { counts, failures } = await run('short', 1)
  console.log(counts)
  expect(failures).toEqual([])
  if (hasFaketime()) expect(counts['looks']).toBeGreaterThan(70)
}, 120_000)
