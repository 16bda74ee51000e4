import type { Limits } from './limits.ts'
import type { Placement } from './placement.ts'
import type { Clock, Stopwatch } from './time.ts'
import type { Upstream, UpstreamIndex } from './upstream.ts'

/** What an MCP server says of itself. */
export interface McpIdentity {
  name: string | null
  version: string | null
  revision: string
  transport: 'http' | 'sse'
  /** How many; null when it has none, or would not list them all. */
  tools: number | null
}

/** What a look found behind a server's URL. */
export interface Probed {
  reachable: boolean
  found: 'mcp' | 'sse' | 'http' | 'nothing'
  path: string
  detail: string
  mcp: McpIdentity | null
}

/** Looks what answers behind a server's URL; `before` is what did the last time. Never throws. */
export type Probe = (server: Upstream, before: Probed | null) => Promise<Probed>

/** Answers that passed the gate, and those that were the server's failures. */
export interface Traffic {
  requests: number
  errors: number
}

const MINUTE_MS = 60_000
const MINUTES = 60

/** The traffic of the last hour by the minute, and all there was since the start. */
class TrafficMeter {
  readonly total: Traffic = { requests: 0, errors: 0 }
  readonly #minutes: ({ minute: number } & Traffic)[] = []

  count(failed: boolean, now: number): void {
    const minute = Math.floor(now / MINUTE_MS)
    const place = minute % MINUTES
    let bucket = this.#minutes[place]
    if (bucket?.minute !== minute) this.#minutes[place] = bucket = { minute, requests: 0, errors: 0 }
    for (const traffic of [this.total, bucket]) {
      traffic.requests++
      if (failed) traffic.errors++
    }
  }

  lastHour(now: number): Traffic {
    const sum = { requests: 0, errors: 0 }
    const oldest = Math.floor(now / MINUTE_MS) - MINUTES
    // Places of minutes that never were are holes, and skipped.
    this.#minutes.forEach(({ minute, requests, errors }) => {
      if (minute <= oldest) return
      sum.requests += requests
      sum.errors += errors
    })
    return sum
  }
}

interface HealthRecord {
  last: (Probed & { at: number }) | null
  dueAt: number
  current: Promise<Probed> | null
  next: Promise<Probed> | null
  readonly traffic: TrafficMeter
}

export interface HealthDeps {
  servers: UpstreamIndex
  probe: Probe
  /** What runs on another node alone is not looked at from here. */
  placement: Pick<Placement, 'elsewhere'>
  limits: Limits
  /** What is told of the last look. */
  now: Clock
  /** When the next look is due, and which traffic is of the last hour. */
  stopwatch: Stopwatch
}

/** So many at once; the others wait. */
class Turns {
  #taken = 0
  readonly #waiting: (() => void)[] = []

  constructor(readonly max: number) {}

  get isFree(): boolean {
    return this.#taken < this.max
  }

  async take<T>(work: () => Promise<T>): Promise<T> {
    while (!this.isFree) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#taken++
    try {
      return await work()
    } finally {
      this.#taken--
      this.#waiting.shift()?.()
    }
  }
}

/** How the servers are, in memory only: a restart looks again. */
export class Health {
  readonly #records = new WeakMap<Upstream, HealthRecord>()
  #timer: NodeJS.Timeout | undefined
  readonly #ofUrls: Turns
  /** Commands may take a minute to start, and URLs must not wait for that. */
  readonly #ofCommands: Turns

  constructor(readonly deps: HealthDeps) {
    this.#ofUrls = new Turns(deps.limits.looksMax)
    this.#ofCommands = new Turns(deps.limits.looksMax)
  }

  /** Looks at every open server soon, and then now and then. */
  start(): void {
    this.#timer = setInterval(() => this.lookAtDue(), this.deps.limits.healthTickMs)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Counts an answer. `failed`: the server could not be reached, broke off, refused the gate's credentials, or answered 500 or above. */
  answered(serverId: string, failed: boolean): void {
    const server = this.deps.servers.byId.get(serverId)
    if (server) this.#of(server).traffic.count(failed, this.deps.stopwatch())
  }

  /** The last look, and the traffic of the last hour and since the start. */
  of(server: Upstream) {
    const { last: looked, traffic } = this.#of(server)
    const last = this.deps.placement.elsewhere(server) ? null : looked
    return { last, hour: traffic.lastHour(this.deps.stopwatch()), total: traffic.total }
  }

  /** Looks now. One look at a server at a time: whoever asks while it is under way gets the one after it. */
  look(server: Upstream): Promise<Probed> {
    const record = this.#of(server)
    record.dueAt = this.#nextAt()
    record.next ??= this.#lookAfter(record, server)
    return record.next
  }

  /** Leaves a new server alone for an interval. */
  postpone(server: Upstream): void {
    this.#of(server).dueAt = this.#nextAt()
  }

  /** Something is known of it without a look. */
  tell(server: Upstream, found: Pick<Probed, 'reachable' | 'detail'>): void {
    const record = this.#of(server)
    const before = record.last ?? { found: 'nothing', path: server.path, mcp: null }
    record.last = { ...before, ...found, at: this.deps.now() }
  }

  /** Its URL, path, headers or command are others than those that were looked at. */
  changed(server: Upstream): void {
    const record = this.#of(server)
    record.last = null
    record.dueAt = 0
    if (server.state === 'open') void this.look(server)
  }

  /** What nobody waits for takes only the turns that are free, the longest overdue first. */
  lookAtDue(): void {
    const { servers, placement, stopwatch } = this.deps
    const due = servers
      .live()
      .map((server) => ({ server, record: this.#of(server) }))
      .filter(({ server, record }) => server.state === 'open' && record.dueAt <= stopwatch())
      .filter(({ server }) => !placement.elsewhere(server))
      .toSorted((a, b) => a.record.dueAt - b.record.dueAt)
    for (const { server, record } of due) {
      const turns = this.#turnsOf(server)
      if (!turns.isFree) continue
      record.dueAt = this.#nextAt()
      record.current = turns.take(() => this.#look(record, server, record.last))
    }
  }

  async #lookAfter(record: HealthRecord, server: Upstream): Promise<Probed> {
    await record.current
    record.next = null
    record.current = this.#turnsOf(server).take(() => this.#look(record, server, null))
    return record.current
  }

  async #look(record: HealthRecord, server: Upstream, before: Probed | null): Promise<Probed> {
    const { probe, placement, now } = this.deps
    const elsewhere = placement.elsewhere(server)
    if (elsewhere) return { reachable: false, found: 'nothing', path: '', detail: detailOf(elsewhere), mcp: null }
    // A copy: credentials that are changed meanwhile must not go where the old ones belonged.
    const looked = { ...server }
    const probed = await probe(looked, before)
    const { url, path, headers, stdio } = server
    const same = looked.url === url && looked.path === path && looked.headers === headers && looked.stdio === stdio
    if (same) record.last = { ...probed, at: now() }
    // Servers that were all looked at when the node started are not for ever after.
    record.dueAt = this.#nextAt()
    return probed
  }

  #nextAt(): number {
    const { limits, stopwatch } = this.deps
    return stopwatch() + limits.healthIntervalMs * (0.9 + Math.random() / 5)
  }

  #turnsOf({ stdio }: Upstream): Turns {
    return stdio ? this.#ofCommands : this.#ofUrls
  }

  #of(server: Upstream): HealthRecord {
    let record = this.#records.get(server)
    if (!record) {
      record = { last: null, dueAt: 0, current: null, next: null, traffic: new TrafficMeter() }
      this.#records.set(server, record)
    }
    return record
  }
}

/** What is said in place of a look at what runs on another node alone. */
export const detailOf = ({ name }: { name: string | null }): string =>
  name === null ? 'the node that ran it is no member any more' : `runs on node ${name}`
