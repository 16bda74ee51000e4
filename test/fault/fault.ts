/** How much a part does: `short` runs in `npm test`, `long` by `bun run faults`. */
export type Size = 'short' | 'long'

/** What was broken, how often, and what did not hold. */
export interface FaultReport {
  /** Such as `kills` or `states`: what makes the report worth something. */
  counts: Record<string, number>
  /** One line each, with what is needed to see it again (a seed, a state). Empty: all held. */
  failures: string[]
}

/** One way of breaking the running program. What random numbers it takes come from the seed, which is printed. */
export type FaultPart = (size: Size, seed: number) => Promise<FaultReport>
