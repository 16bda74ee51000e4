import { expect, test } from 'bun:test'
import { run } from './kill.ts'

test('kill -9 at any moment loses no acknowledged revocation', async () => {
  const seed = Number(process.env['SEED'] ?? crypto.getRandomValues(new Uint32Array(1))[0])
  console.log(`--seed ${seed}`)
  const { counts, failures } = await run('short', seed)
  console.log(counts)
  expect(failures).toEqual([])
  expect(counts['kills']).toBeGreaterThanOrEqual(26)
  expect(counts['revocations']).toBeGreaterThan(8)
  expect(counts['not durable']).toBeGreaterThan(0)
  expect(counts['killed: minute']).toBeGreaterThan(0)
}, 180_000)
