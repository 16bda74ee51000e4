import { expect, test } from 'bun:test'
import { run } from './order.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

test(`in any order of events, what is dead passes no byte, and nothing is left (SEED=${SEED})`, async () => {
  const { counts, failures } = await run('short', SEED)
  console.log(`SEED=${SEED}: ${JSON.stringify(counts)}`)
  expect(failures).toEqual([])
  expect(counts['interleavings']).toBe(2_000)
  // Orders in which nothing happens prove nothing.
  for (const what of ['upstream calls', 'streams', 'resets', 'refusals', 'tokens killed'])
    expect(counts[what], what).toBeGreaterThan(200)
  expect(counts['farewells']).toBeGreaterThan(50)
}, 180_000)
