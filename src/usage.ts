import type { Limits } from './limits.ts'

/** What one token did in a while. */
export interface Usage {
  requests: number
  refusals: number
  bytesIn: number
  bytesOut: number
  lastUsedAt: number | null
  client: string | null
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS

/** How a token's use is drawn: evenly spaced buckets, the last of which still runs. */
export const USAGE_WINDOWS = {
  hour: { bucketMs: MINUTE_MS, buckets: 60 },
  day: { bucketMs: 15 * MINUTE_MS, buckets: 96 },
  month: { bucketMs: 24 * HOUR_MS, buckets: 30 },
} as const
export type UsageWindow = keyof typeof USAGE_WINDOWS

/** What was counted from `at` on, for the length of a bucket. */
export interface UsageBucket {
  at: number
  requests: number
  refusals: number
  bytesIn: number
  bytesOut: number
}
const none = (): Usage => ({ requests: 0, refusals: 0, bytesIn: 0, bytesOut: 0, lastUsedAt: null, client: null })

/** The buckets of a window that ends now, empty, the oldest first. */
const bucketsOf = (window: UsageWindow, now: number): UsageBucket[] => {
  const { bucketMs, buckets } = USAGE_WINDOWS[window]
  const first = (Math.floor(now / bucketMs) - buckets + 1) * bucketMs
  return Array.from({ length: buckets }, (_, index) => ({
    at: first + index * bucketMs,
    requests: 0,
    refusals: 0,
    bytesIn: 0,
    bytesOut: 0,
  }))
}

/** Evenly spaced buckets that end now, out of what is written and what is not yet. */
export const usageHistory = (
  window: UsageWindow,
  now: number,
  written: (since: number, bucketMs: number) => Iterable<UsageBucket>,
  pending: Usage,
): UsageBucket[] => {
  const { bucketMs } = USAGE_WINDOWS[window]
  const buckets = bucketsOf(window, now)
  const since = buckets[0]?.at ?? now
  for (const row of [...written(since, bucketMs), { ...pending, at: now }]) {
    const bucket = buckets[Math.floor((row.at - since) / bucketMs)]
    if (!bucket) continue
    bucket.requests += row.requests
    bucket.refusals += row.refusals
    bucket.bytesIn += row.bytesIn
    bucket.bytesOut += row.bytesOut
  }
  return buckets
}

export interface UsageStore {
  /** Adds to the minute's buckets and to the totals, in one transaction. */
  addUsage(minute: number, usage: ReadonlyMap<string, Usage>): void
}

/** Counts per token in memory; written once a minute, and when the process ends. */
export class UsageMeter {
  #counts = new Map<string, Usage>()

  of(tokenId: string): Usage {
    let usage = this.#counts.get(tokenId)
    if (!usage) this.#counts.set(tokenId, (usage = none()))
    return usage
  }

  /** What is not written yet. */
  pending(tokenId: string): Usage {
    return this.#counts.get(tokenId) ?? none()
  }

  /** Writes to the minute that holds `at`. When the store refuses, the counts stay for the next time. */
  flush(store: UsageStore, at: number): void {
    if (this.#counts.size === 0) return
    store.addUsage(at - (at % MINUTE_MS), this.#counts)
    this.#counts = new Map()
  }
}

/** Somebody who tried a dead token. */
export interface EvidenceAddress {
  address: string
  count: number
  firstAt: number
  lastAt: number
}

export interface EvidenceStore {
  /** By token; one query for all. */
  evidenceOf(tokenIds: string[]): Map<string, EvidenceAddress[]>
  putEvidence(rows: Iterable<readonly [tokenId: string, EvidenceAddress]>): void
}

/** Where tries above `evidenceAddressesMax` addresses are counted. */
export const OTHER_ADDRESSES = 'others'

/** Tries with dead tokens and where they came from: bounded, in memory, written with the usage. */
export class Evidence {
  readonly #byToken = new Map<string, Map<string, EvidenceAddress>>()
  #changed = new Map<EvidenceAddress, string>()

  constructor(
    readonly store: EvidenceStore,
    readonly limits: Limits,
  ) {}

  add(tokenId: string, address: string, now: number): void {
    const addresses = this.#load(tokenId)
    const key = addresses.has(address) || addresses.size < this.limits.evidenceAddressesMax ? address : OTHER_ADDRESSES
    let entry = addresses.get(key)
    if (!entry) addresses.set(key, (entry = { address: key, count: 0, firstAt: now, lastAt: now }))
    entry.count += 1
    entry.lastAt = now
    this.#changed.set(entry, tokenId)
  }

  /** Who tried each of these tokens; those that nobody tried are left out. */
  of(tokenIds: string[]): Map<string, EvidenceAddress[]> {
    const found = this.store.evidenceOf(tokenIds.filter((id) => !this.#byToken.has(id)))
    for (const id of tokenIds) {
      const loaded = this.#byToken.get(id)
      if (loaded) found.set(id, [...loaded.values()])
    }
    return found
  }

  flush(): void {
    if (this.#changed.size === 0) return
    this.store.putEvidence([...this.#changed].map(([entry, tokenId]) => [tokenId, entry] as const))
    this.#changed = new Map()
  }

  #load(tokenId: string): Map<string, EvidenceAddress> {
    let addresses = this.#byToken.get(tokenId)
    if (!addresses) {
      const stored = this.store.evidenceOf([tokenId]).get(tokenId) ?? []
      addresses = new Map(stored.map((entry) => [entry.address, entry]))
      this.#byToken.set(tokenId, addresses)
    }
    return addresses
  }
}
