import { expect, test } from 'bun:test'
import { BREAKS } from '../simulate/breaks.ts'
import { replay, shrink, simulate, toldOf } from '../simulate/run.ts'

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const STEPS = 200_000
/** Within so many steps each break is found, from a seed that stands here. */
const BREAK_STEPS = 200_000

/** Seeds that found something once. */
const PINNED: readonly number[] = []

test(`nobody lets in what was called complete, and all are equal in the end (SEED=${SEED})`, () => {
  const { worlds, steps, counts, failures } = simulate(STEPS, SEED)
  console.log(`SEED=${SEED}: ${steps} steps in ${worlds} worlds: ${JSON.stringify(counts)}`)
  expect(failures.map((failure) => toldOf(shrink(failure)))).toEqual([])
  expect(steps).toBeGreaterThanOrEqual(STEPS)
}, 300_000)

test.each(PINNED)(
  'seed %i, which failed once',
  (seed) => {
    expect(toldOf(replay(seed))).toBe(`seed ${seed}: nothing`)
  },
  60_000,
)

test.each(BREAKS)(
  'the simulator finds $name',
  (broken) => {
    const { steps, failures } = simulate(BREAK_STEPS, 1, broken)
    expect(failures.length).toBe(1)
    console.log(`${broken.name}: after ${steps} steps: ${failures[0]?.failure?.message}`)
  },
  120_000,
)
