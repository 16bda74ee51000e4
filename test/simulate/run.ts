import { parseArgs } from 'node:util'
import { BREAKS, type Break, SOUND } from './breaks.ts'
import { type Outcome, type Story, World } from './world.ts'

/** `bun run simulate --steps N --seed S`: worlds out of consecutive seeds, until so many steps were made. */

/** Of one world: many small ones see more than a few large ones. */
const WORLD_STEPS = 2_500
const SHRINK_MS = 20_000

export interface Simulated {
  worlds: number
  steps: number
  counts: Record<string, number>
  failures: Outcome[]
}

/** Stops at the first failure. */
export const simulate = (steps: number, seed: number, broken: Break = SOUND): Simulated => {
  const all: Simulated = { worlds: 0, steps: 0, counts: {}, failures: [] }
  while (all.steps < steps && all.failures.length === 0) {
    const outcome = new World(seed + all.worlds, { broken }).run(WORLD_STEPS)
    all.worlds += 1
    all.steps += outcome.steps
    for (const [what, count] of Object.entries(outcome.counts)) all.counts[what] = (all.counts[what] ?? 0) + count
    if (outcome.failure) all.failures.push(outcome)
  }
  return all
}

export const replay = (seed: number, broken: Break = SOUND): Outcome => new World(seed, { broken }).run(WORLD_STEPS)

/** A story in some seeds' times; the first failure, or null. */
export const narrate = (story: Story, seeds: number, broken: Break = SOUND): Outcome | null => {
  for (let seed = 1; seed <= seeds; seed += 1) {
    const outcome = new World(seed, { story, broken }).run(1)
    if (outcome.failure) return outcome
  }
  return null
}

/** The same seed with fewer actions, as long as it fails: what is left is what the failure needs. */
export const shrink = (outcome: Outcome, broken: Break = SOUND): Outcome => {
  const until = performance.now() + SHRINK_MS
  const without = new Set<number>()
  let least = outcome
  for (let chunk = 32; chunk >= 1; chunk = Math.floor(chunk / 2)) {
    const actions = [...(least.failure?.actions ?? [])]
    for (let at = actions.length; at > 0 && performance.now() < until; at -= chunk) {
      const dropped = actions.slice(Math.max(0, at - chunk), at).filter((action) => !without.has(action))
      if (dropped.length === 0) continue
      for (const action of dropped) without.add(action)
      const tried = new World(outcome.seed, { broken, without }).run(outcome.steps)
      if (tried.failure) least = tried
      else for (const action of dropped) without.delete(action)
    }
  }
  return least
}

export const toldOf = ({ seed, failure, steps }: Outcome): string =>
  failure
    ? [
        `seed ${seed}, step ${failure.step} of ${steps}, ${failure.actions.length} actions`,
        ...failure.trace,
        failure.message,
      ].join('\n')
    : `seed ${seed}: nothing`

if (import.meta.main) {
  const { values } = parseArgs({
    options: { steps: { type: 'string' }, seed: { type: 'string' }, break: { type: 'string' } },
  })
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  const broken = values.break === undefined ? SOUND : (BREAKS[Number(values.break)] ?? SOUND)
  const started = performance.now()
  console.log(`seed ${seed}, ${broken.name}`)
  const { worlds, steps, counts, failures } = simulate(Number(values.steps ?? 1_000_000), seed, broken)
  for (const failure of failures) console.log(toldOf(shrink(failure, broken)))
  console.log(JSON.stringify(counts))
  console.log(`${steps} steps in ${worlds} worlds, ${((performance.now() - started) / 1000).toFixed(1)} s`)
  process.exit(failures.length === 0 ? 0 : 1)
}
