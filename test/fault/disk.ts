import { startEvents } from '../support/upstreams/events.ts'
import { CALLS_MAX, type Series, seriesOf } from './disk-series.ts'
import type { FaultPart, FaultReport } from './fault.ts'

/**
 * The disk refuses a call: each one in turn that a revocation, a kill, a closing, the flush of the journal, a rotation of
 * keys, a checkpoint and a start pass, once or from then on, by strace (`-e inject`); and a small disk is really full. The
 * change must be in force, the answer true, and what it promised must hold after the disk is well, or after kill -9 and a
 * start.
 */
const AT_ONCE = 4

export const run: FaultPart = async (size, seed): Promise<FaultReport> => {
  const failures: string[] = []
  const counts: Record<string, number> = {}
  const events = await startEvents({ intervalMs: 5 })
  const count = (what: string, more = 1) => (counts[what] = (counts[what] ?? 0) + more)
  const todo = seriesOf({ upstream: events.url, size, count }, seed)
  const fail = (what: string, error: unknown) => {
    failures.push(`--seed ${seed}: ${what}: ${error instanceof Error ? error.message : String(error)}`)
    if (size === 'long') console.error(failures.at(-1))
  }
  const through = async (series: Series) => {
    let at = 1
    try {
      for (let hit = true; hit && at < CALLS_MAX; at = series.steps(at)) {
        hit = await series.check(at)
        count(hit ? 'faults' : 'runs without a fault, at the end of a series')
      }
    } catch (error) {
      fail(`${series.name} #${at}`, error)
    }
    await series.end?.()
    count('series')
    if (size === 'long') console.error(`  ${series.name}: ${failures.length} failures, ${todo.length} to go`)
  }
  const work = async () => {
    for (let make = todo.shift(); make; make = todo.shift()) {
      await make().then(through, (error: unknown) => fail('what a series begins with', error))
    }
  }
  try {
    await Promise.all(Array.from({ length: AT_ONCE }, work))
  } finally {
    events.stop()
  }
  return { counts, failures }
}
