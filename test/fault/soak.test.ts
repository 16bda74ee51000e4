import { expect, test } from 'bun:test'
import { run } from './soak.ts'

test('under mixed load with random revocations nothing grows', async () => {
  const seed = Number(process.env['SEED'] ?? crypto.getRandomValues(new Uint32Array(1))[0])
  console.log(`--seed ${seed}`)
  const { counts, failures } = await run('short', seed)
  console.log(counts)
  expect(failures).toEqual([])
  expect(counts['revocations']).toBeGreaterThan(5)
  expect(counts['requests']).toBeGreaterThan(50)
}, 90_000)
