import { cpSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { builtBinary } from '../support/binary.ts'
import { Random } from '../support/random.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startMixed } from '../support/upstreams/mixed.ts'
import type { FaultPart } from './fault.ts'
import { makeCertificate, type Moment, MOMENTS, World } from './kill-world.ts'

const KILLS = { short: 26, long: 1_000 }
/** The first folder of the long form grows over so many kills; later ones last as long as the other says. */
const GROWING = 250
const ROUNDS = 25
const TALK_MS = 5
const FAILURES_MAX = 5

/** `bun run faults kill`: kill -9 at random moments under load, and what was acknowledged holds. */
export const run: FaultPart = async (size, seed) => {
  const command = [builtBinary()]
  const random = new Random(seed)
  const upstream = await startMixed(TALK_MS)
  const scratch = tempFolder()
  const tls = await makeCertificate(scratch)
  const failures: string[] = []
  const counts: Record<string, number> = { kills: 0, folders: 0, deeds: 0, tokens: 0, revocations: 0, 'not durable': 0 }
  const startsMs: number[] = []
  const add = (what: string, count: number) => (counts[what] = (counts[what] ?? 0) + count)
  // Each moment once, and then as they fall.
  const first = Object.keys(MOMENTS) as Moment[]
  try {
    for (let kills = 0; kills < KILLS[size] && failures.length < FAILURES_MAX;) {
      const world = new World(command, random, upstream.url, tls)
      await world.setUp()
      const rounds = size === 'long' && kills === 0 ? GROWING : ROUNDS
      for (let round = 0; round < rounds && kills + world.kills < KILLS[size]; round += 1) {
        const moment = first.shift() ?? random.weighted(MOMENTS)
        try {
          await world.round(moment)
        } catch (error) {
          world.ledger.fail(String(error))
        }
        add(`killed: ${moment}`, 1)
        if (world.ledger.failures.length > 0) break
        if (size === 'long' && (kills + world.kills) % 50 === 0) console.error(`${kills + world.kills} kills`)
      }
      if (world.ledger.failures.length === 0) {
        await world.finish().catch((error: unknown) => world.ledger.fail(String(error)))
      }
      kills += world.kills
      const [found] = world.ledger.failures
      if (found === undefined) {
        removeFolder(world.data)
      } else {
        const kept = join(tmpdir(), `portcullis-fault-kill-${seed}-${kills}`)
        cpSync(world.data, kept, { recursive: true, filter: (path) => !path.endsWith('control.sock') })
        const more = world.ledger.failures.length - 1
        const before = world.moments.slice(-4).join(', ')
        failures.push(`kill ${kills} (--seed ${seed}; ${before}): ${found}; and ${more} more; its folder is ${kept}`)
      }
      startsMs.push(...world.startsMs)
      add('kills', world.kills)
      add('folders', 1)
      add('deeds', world.deeds)
      add('tokens', world.ledger.tokens.size)
      add('revocations', world.ledger.revocations.size)
      add('not durable', [...world.ledger.revocations.values()].filter(({ durable }) => !durable).length)
    }
  } finally {
    upstream.stop()
    removeFolder(scratch)
  }
  startsMs.sort((a, b) => a - b)
  counts['ms to start, median'] = Math.round(startsMs[Math.floor(startsMs.length / 2)] ?? 0)
  counts['ms to start, longest'] = Math.round(startsMs.at(-1) ?? 0)
  return { counts, failures }
}
