import type { Limits } from './limits.ts'
import { holdsSecret } from './secret.ts'
import type { Sighting } from './sightings.ts'
import { keepable } from './text.ts'

/** Who called what: the key of what is counted. Never what was said. */
export interface Call {
  tokenId: string
  serverId: string
  /** The JSON-RPC method, or the HTTP method of what is no MCP. */
  method: string
  /** The name of the tool or prompt; empty where there is none. */
  name: string
  address: string
  client: string
}

export interface CallCounts {
  calls: number
  /** Answered by an error: of JSON-RPC, of the tool (`isError`), or of HTTP. */
  errors: number
  /** Refused by the token's policy: these are not in `calls`. */
  refused: number
  argumentBytes: number
  firstAt: number
  lastAt: number
}

export type ActivityRow = Call & CallCounts

export interface ActivityStore {
  /** Adds to the minute's rows, in one transaction. */
  addActivity(minute: number, rows: Iterable<ActivityRow>): void
}

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

const TOOLS_CALL = 'tools/call'

/** What stands in place of names above the limit. */
export const OTHERS = '(others)'

const METHOD = /^[A-Za-z0-9_$./-]{1,64}$/

/** What tokens did, counted in memory by who called what; written once a minute. */
export class Activity {
  #rows = new Map<string, ActivityRow>()
  /** The same rows by what was said before it was made fit to be kept: most calls are like one before. */
  readonly #said = new Map<string, ActivityRow>()
  /** The day's keys by token: what bounds how many rows one can cause. */
  readonly #known = new Map<string, Set<string>>()
  #day = 0

  constructor(
    readonly limits: Limits,
    /** Told from where a token calls: at least once a minute while it does. */
    readonly onSighting: (sighting: Sighting) => void = () => {},
  ) {}

  called(call: Call, argumentBytes: number, now: number): void {
    const row = this.#row(call, now)
    row.calls += 1
    row.argumentBytes += argumentBytes
  }

  failed(call: Call, now: number): void {
    this.#row(call, now).errors += 1
  }

  refused(call: Call, now: number): void {
    this.#row(call, now).refused += 1
  }

  /** What is not written yet. */
  pending(tokenId: string): ActivityRow[] {
    return [...this.#rows.values()].filter((row) => row.tokenId === tokenId)
  }

  /** Writes to the minute that holds `at`. When the store refuses, the counts stay for the next time. */
  flush(store: ActivityStore, at: number): void {
    if (this.#rows.size === 0) return
    store.addActivity(at - (at % MINUTE_MS), this.#rows.values())
    this.#rows = new Map()
    this.#said.clear()
  }

  #row(call: Call, now: number): ActivityRow {
    const { callsKnownMax, callLengthMax } = this.limits
    const said = keyOf(call)
    let row = this.#said.get(said)
    if (!row) {
      row = this.#keptRow(call, now)
      if (this.#said.size < callsKnownMax && said.length <= callLengthMax) this.#said.set(said, row)
    }
    row.lastAt = now
    return row
  }

  #keptRow(call: Call, now: number): ActivityRow {
    const { toolNameLengthMax, clientNameLengthMax, activityKeysPerTokenMax: max } = this.limits
    this.onSighting({ tokenId: call.tokenId, address: call.address, lastAt: now })
    const named: Call = {
      ...call,
      method: METHOD.test(call.method) && !holdsSecret(call.method) ? call.method : OTHERS,
      name: keepable(call.name, toolNameLengthMax),
      client: keepable(call.client, clientNameLengthMax),
    }
    // Names that clients invent must not hide where calls come from: addresses are given up last.
    const nameless = { ...named, method: named.method === TOOLS_CALL ? TOOLS_CALL : OTHERS, name: OTHERS }
    const clientless = { ...nameless, client: OTHERS }
    const kept = [named, nameless, clientless].find((call, step) => this.#mayKeep(call, (step + 1) * max, now)) ?? {
      ...clientless,
      address: OTHERS,
    }
    const key = keyOf(kept)
    let row = this.#rows.get(key)
    if (!row) {
      row = { ...kept, calls: 0, errors: 0, refused: 0, argumentBytes: 0, firstAt: now, lastAt: now }
      this.#rows.set(key, row)
    }
    return row
  }

  /** Whether this is one of the first `max` keys of its token in this day. */
  #mayKeep(call: Call, max: number, now: number): boolean {
    const day = Math.floor(now / DAY_MS)
    if (day !== this.#day) this.#known.clear()
    this.#day = day
    let known = this.#known.get(call.tokenId)
    if (!known) this.#known.set(call.tokenId, (known = new Set()))
    const key = keyOf(call)
    if (known.size >= max && !known.has(key)) return false
    known.add(key)
    return true
  }
}

/** One text for each call, and another for any other: what clients choose stands behind its length. */
const keyOf = ({ tokenId, serverId, method, name, address, client }: Call): string =>
  `${tokenId} ${serverId} ${address} ${method.length} ${name.length} ${method}${name}${client}`

/** Counts of one tool, method, address or client. */
export type Counted = CallCounts & { serverId: string; name: string }

/** What a token did in a while, summed from rows as they come. */
export class ActivitySummary {
  readonly totals = { calls: 0, errors: 0, refused: 0, argumentBytes: 0 }
  readonly #tools = new Map<string, Counted>()
  readonly #methods = new Map<string, Counted>()
  readonly #addresses = new Map<string, Counted>()
  readonly #clients = new Map<string, Counted>()

  add(row: ActivityRow): void {
    this.totals.calls += row.calls
    this.totals.errors += row.errors
    this.totals.refused += row.refused
    this.totals.argumentBytes += row.argumentBytes
    if (row.method === TOOLS_CALL) sum(this.#tools, row.serverId, row.name, row)
    sum(this.#methods, row.serverId, row.method, row)
    sum(this.#addresses, '', row.address, row)
    if (row.client !== '') sum(this.#clients, '', row.client, row)
  }

  /** Each list with the most called first. */
  get lists() {
    return {
      tools: sorted(this.#tools),
      methods: sorted(this.#methods),
      addresses: sorted(this.#addresses),
      clients: sorted(this.#clients),
    }
  }
}

const sum = (into: Map<string, Counted>, serverId: string, name: string, row: CallCounts): void => {
  const key = `${serverId} ${name}`
  const known = into.get(key)
  if (!known) {
    const { calls, errors, refused, argumentBytes, firstAt, lastAt } = row
    into.set(key, { serverId, name, calls, errors, refused, argumentBytes, firstAt, lastAt })
    return
  }
  known.calls += row.calls
  known.errors += row.errors
  known.refused += row.refused
  known.argumentBytes += row.argumentBytes
  known.firstAt = Math.min(known.firstAt, row.firstAt)
  known.lastAt = Math.max(known.lastAt, row.lastAt)
}

const sorted = (counted: Map<string, Counted>): Counted[] =>
  [...counted.values()].toSorted((a, b) => b.calls + b.refused - (a.calls + a.refused) || b.lastAt - a.lastAt)
