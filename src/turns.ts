import { setImmediate as turn } from 'node:timers/promises'

/** How many are looked at between two looks at the clock. */
const BETWEEN = 256

/** Looks at one after the other, and gives the loop a turn whenever it was held for so long. */
export const inTurns = async <T>(all: Iterable<T>, holdMs: number, look: (one: T) => void): Promise<void> => {
  let looked = 0
  let since = performance.now()
  for (const one of all) {
    look(one)
    looked += 1
    if (looked % BETWEEN !== 0 || performance.now() - since < holdMs) continue
    await turn()
    since = performance.now()
  }
}
