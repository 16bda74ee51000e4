import { setImmediate as turn } from 'node:timers/promises'
import type { Limits } from './limits.ts'
import type { Receipt } from './revocation-record.ts'
import { type Evidence, type EvidenceAddress, OTHER_ADDRESSES } from './usage.ts'

/** Tries with tokens that a revocation killed, from one address. */
export interface TriesFrom {
  address: string
  count: number
  firstAt: number
  lastAt: number
}

/** Tries with the dead tokens of a revocation, since then. */
export interface Tries {
  count: number
  /**
   * Whether there may have been more: an address that had tried a secret of the token which was dead before
   * counts one, its last, since its tries were counted together.
   */
  atLeast: boolean
  lastAt: number | null
  /** The busiest first, `triesAddressesShownMax` at the most. */
  addresses: TriesFrom[]
}

/** Read in slices: ten thousand tokens may have died, each tried from a hundred addresses. */
export const triesOf = async (receipt: Receipt, evidence: Evidence, limits: Limits): Promise<Tries> => {
  const found = new Map<string, TriesFrom>()
  let atLeast = false
  const add = (address: string, { firstAt, lastAt, count }: EvidenceAddress): void => {
    if (lastAt < receipt.at) return
    const before = firstAt < receipt.at
    if (before) atLeast = true
    const since = before ? { count: 1, firstAt: lastAt, lastAt } : { count, firstAt, lastAt }
    const known = found.get(address)
    if (!known) found.set(address, { address, ...since })
    else {
      known.count += since.count
      known.firstAt = Math.min(known.firstAt, since.firstAt)
      known.lastAt = Math.max(known.lastAt, since.lastAt)
    }
  }
  const { triesTokensSlice: slice, triesAddressesMax: addressesMax } = limits
  for (let from = 0; from < receipt.tokens.length; from += slice) {
    if (from > 0) await turn()
    const ids = receipt.tokens.slice(from, from + slice).map(({ id }) => id)
    for (const entries of evidence.of(ids).values()) {
      for (const entry of entries) {
        const known = found.size < addressesMax || found.has(entry.address)
        add(known ? entry.address : OTHER_ADDRESSES, entry)
      }
    }
  }
  const all = [...found.values()]
  return {
    count: all.reduce((sum, { count }) => sum + count, 0),
    atLeast,
    lastAt: all.reduce<number | null>((last, { lastAt }) => Math.max(last ?? 0, lastAt), null),
    addresses: all.toSorted((a, b) => b.count - a.count).slice(0, limits.triesAddressesShownMax),
  }
}
