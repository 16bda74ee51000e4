import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { builtBinary } from '../support/binary.ts'
import { startNode } from '../support/node.ts'
import { mayTrace, readTrace, recording, textOf } from '../support/strace.ts'
import { tempFolder } from '../support/temp.ts'
import { run } from './power.ts'

/** Printed when it fails: `bun run faults power --short --seed N` does the same again, with `STATE=N` one state of it. */
const SEED = Number(process.env['SEED'] ?? crypto.getRandomValues(new Uint32Array(1))[0])
const traced = test.if(mayTrace())

traced(
  'whatever a power cut leaves on the disk: what was acknowledged is there',
  async () => {
    console.log(`power: --seed ${SEED}`)
    const { counts, failures } = await run('short', SEED)
    expect(failures).toEqual([])
    expect(counts).toMatchObject({ 'states started': 30 })
    // Else it would have shown nothing: of checkpoints, of a disk that fails, and at all.
    for (const what of [
      'syncs of the database itself: checkpoints',
      'syncs that failed',
      'states that lost a revocation, with syncs that do nothing',
    ])
      expect([what, (counts[what] ?? 0) > 0]).toEqual([what, true])
  },
  120_000,
)

traced('a folder that a start makes is there after a power cut, with those above it', async () => {
  const folder = tempFolder()
  const prefix = join(tempFolder(), 'trace')
  const calls = recording(prefix, ['mkdir', 'openat', 'fsync', 'sendto'])
  const command = [...calls, builtBinary()]
  const node = await startNode({ data: join(folder, 'state/portcullis'), command, env: { HOME: tempFolder() } })
  expect(await node.stop()).toBe(0)
  const synced = (await readTrace(prefix, node.pid))
    .filter(({ name }) => name === 'fsync')
    .map(({ args }) => textOf(/<((?:\\x[0-9a-f]{2})+)>/.exec(args)?.[1] ?? '').toString())
  expect(synced.slice(0, 2)).toEqual([join(folder, 'state'), folder])
})
