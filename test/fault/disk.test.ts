import { expect, test } from 'bun:test'
import { mayTrace } from '../support/strace.ts'
import { run } from './disk.ts'

/** Printed when it fails: `bun run faults disk --short --seed N` does the same again. */
const SEED = Number(process.env['SEED'] ?? crypto.getRandomValues(new Uint32Array(1))[0])

test.if(mayTrace())(
  'whatever call the disk refuses: it is in force, the answer is true, and what it promised holds',
  async () => {
    console.log(`disk: --seed ${SEED}`)
    const { counts, failures } = await run('short', SEED)
    expect(failures).toEqual([])
    expect(counts['series']).toBeGreaterThanOrEqual(7)
    expect(counts['faults']).toBeGreaterThanOrEqual(20)
    // The disk was met in all of its ways.
    for (const what of ['answers: durable', 'answers: 507, in the journal', 'answers: 507, lost on restart'])
      expect([what, (counts[what] ?? 0) > 0]).toEqual([what, true])
  },
  120_000,
)
