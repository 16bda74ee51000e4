import { expect, test } from 'bun:test'
import { run } from './wire.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

test(`ill-treated on the wire, the node neither dies nor grows, and a kill still kills (SEED=${SEED})`, async () => {
  const { counts, failures } = await run('short', SEED)
  console.log(`SEED=${SEED}: ${JSON.stringify(counts)}`)
  expect(failures).toEqual([])
  for (const what of [
    'stopped readers',
    'heads that never end',
    'bodies byte by byte',
    'cuts at a byte',
    'fresh kills',
  ])
    expect(counts[what], what).toBeGreaterThan(20)
  for (const what of ['connects and disconnects', 'streams of any bytes', 'bodies of any bytes'])
    expect(counts[what], what).toBeGreaterThan(500)
}, 300_000)
