import type { Limits } from './limits.ts'
import type { Clock } from './time.ts'

/** That a token was used from an address; the last time it was. */
export interface Sighting {
  tokenId: string
  address: string
  lastAt: number
}

/** From which addresses each token was used in the last day. */
export class Sightings {
  readonly #byToken = new Map<string, Map<string, number>>()
  /** Tokens that may have been used from many addresses: those to look at when that is asked. */
  readonly #many = new Set<string>()

  constructor(
    readonly limits: Limits,
    readonly now: Clock,
  ) {}

  note({ tokenId, address, lastAt }: Sighting): void {
    if (lastAt <= this.#since) return
    let addresses = this.#byToken.get(tokenId)
    if (!addresses) this.#byToken.set(tokenId, (addresses = new Map()))
    const known = addresses.get(address)
    if (known !== undefined && known >= lastAt) return
    addresses.set(address, lastAt)
    if (addresses.size > this.limits.sightingAddressesMax) forgetOldest(addresses)
    if (addresses.size >= this.limits.manyAddresses) this.#many.add(tokenId)
  }

  /** The last seen first. */
  addressesOf(tokenId: string): { address: string; lastAt: number }[] {
    const since = this.#since
    return [...(this.#byToken.get(tokenId) ?? [])]
      .filter(([, lastAt]) => lastAt > since)
      .map(([address, lastAt]) => ({ address, lastAt }))
      .toSorted((a, b) => b.lastAt - a.lastAt)
  }

  /** Tokens that were used from `manyAddresses` or more. */
  *fromMany(): Generator<string> {
    for (const tokenId of this.#many) {
      if (this.#isFromMany(tokenId)) yield tokenId
      else this.#many.delete(tokenId)
    }
  }

  #isFromMany(tokenId: string): boolean {
    const since = this.#since
    let left = this.limits.manyAddresses
    for (const lastAt of this.#byToken.get(tokenId)?.values() ?? []) {
      if (lastAt > since) left -= 1
      if (left === 0) return true
    }
    return false
  }

  /** Forgets what is older than a day, a slice of tokens at a time. */
  *prune(): Generator<void> {
    let looked = 0
    for (const [tokenId, addresses] of this.#byToken) {
      for (const [address, lastAt] of addresses) if (lastAt <= this.#since) addresses.delete(address)
      if (addresses.size === 0) this.#byToken.delete(tokenId)
      looked += 1
      if (looked % this.limits.tokensSlice === 0) yield
    }
  }

  get #since(): number {
    return this.now() - this.limits.sightingsMs
  }
}

const forgetOldest = (addresses: Map<string, number>): void => {
  let oldest: [string, number] | undefined
  for (const entry of addresses) if (!oldest || entry[1] < oldest[1]) oldest = entry
  if (oldest) addresses.delete(oldest[0])
}
