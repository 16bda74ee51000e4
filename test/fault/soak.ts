import { readdirSync, readFileSync, statSync } from 'node:fs'
import type { AuditRowJson, NodeJson } from '../../src/server/api/schemas.ts'
import { filesOf } from '../../src/store/folder.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { Random } from '../support/random.ts'
import { ask, open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startMixed } from '../support/upstreams/mixed.ts'
import type { FaultPart, Size } from './fault.ts'

const LASTS_MS: Record<Size, number> = { short: 20_000, long: 15 * 60_000 }
/** A row of figures is about so long. */
const ROW_MS: Record<Size, number> = { short: 1_000, long: 15_000 }
const TOKENS = 100
const TALK_MS = 250
/** Between two changes, and between two requests of each of the workers. */
const CHANGE_MS = 120
const ASK_MS = 30
const ASKING = 4
const MIB = 1024 * 1024

/** What is flat grows by no more from the second third to the last: for memory a tenth and what a collector leaves. */
const RSS_GROWTH = 0.1
const RSS_NOISE_MIB = 16
const FILES_NOISE = 4
/** Of a machine with others on it: a median three times as long is no noise any more. */
const SLOWER = 3
const SLOWER_MS = 5

/** The figures of one row; times are of what happened in it. */
interface Row {
  atS: number
  rssMiB: number
  files: number
  /** As the node counts them, and as the clients do. */
  connections: number
  open: number
  requests: number
  askP50Ms: number
  askP99Ms: number
  kills: number
  cutP50Ms: number
  cutMaxMs: number
  loopMs: number
  auditRows: number
  databaseKiB: number
  journalBytes: number
  errors: number
}
const COLUMNS: (keyof Row)[] = [
  ...(['atS', 'rssMiB', 'files', 'connections', 'open', 'requests', 'askP50Ms', 'askP99Ms', 'kills'] as const),
  ...(['cutP50Ms', 'cutMaxMs', 'loopMs', 'auditRows', 'databaseKiB', 'journalBytes', 'errors'] as const),
]

const quantile = (values: readonly number[], share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}

interface Client {
  id: string
  secret: string
  stream: RawClient
}

const isOpen = ({ stream }: Client): boolean => stream.ended === 'open' && !stream.complete

/** Mixed load on one node, and its figures. */
class Soak {
  readonly errors: string[] = []
  readonly rows: Row[] = []
  readonly counts = { requests: 0, 'streams opened': 0, revocations: 0, 'tokens revoked': 0, rotations: 0 }
  #clients: Client[] = []
  #working = true
  /** While figures are read nothing is asked, so that both sides can be compared. */
  #pause: Promise<void> = Promise.resolve()
  #busy = 0
  #made = 0
  #askMs: number[] = []
  #cutMs: number[] = []
  #loop = { sum: 0, count: 0 }
  #counted = { requests: 0, revocations: 0, errors: 0 }

  constructor(
    readonly node: TestNode,
    readonly random: Random,
  ) {}

  get files(): number {
    return readdirSync(`/proc/${this.node.pid}/fd`).length
  }

  async #client(): Promise<void> {
    const number = (this.#made += 1)
    const { id, token } = await this.node.createToken(`token ${number}`, ['up'], {
      subject: `person-${number % 40}@example.com`,
      group: `group-${number % 15}`,
    })
    await this.#openStream({ id, secret: token })
  }

  async #openStream({ id, secret }: Pick<Client, 'id' | 'secret'>): Promise<void> {
    const stream = await open(this.node.gate, { target: '/s/up/sse', headers: bearer(secret) })
    this.#clients.push({ id, secret, stream })
    this.counts['streams opened'] += 1
    await stream.until(({ status }) => status !== 0)
    if (stream.status !== 200) this.errors.push(`a stream was answered ${stream.status}`)
  }

  async fill(): Promise<void> {
    while (this.#clients.length < TOKENS) await this.#client()
  }

  /** One thing after the other until the time is over, each counted as busy. */
  async #repeat(everyMs: number, deed: () => Promise<void>): Promise<void> {
    while (this.#working) {
      await this.#pause
      this.#busy += 1
      try {
        await deed()
      } catch (error) {
        this.errors.push(String(error))
      }
      this.#busy -= 1
      await Bun.sleep(this.random.next() * everyMs * 2)
    }
  }

  async #ask(): Promise<void> {
    const client = this.random.any(this.#clients)
    if (!client) return
    const before = performance.now()
    const answer = await ask(this.node.gate, { target: '/s/up/x', headers: bearer(client.secret) })
    this.#askMs.push(performance.now() - before)
    this.counts.requests += 1
    // One that was killed meanwhile, by its token or its server, may be refused, or cut.
    if (answer.status !== 200 && this.#clients.includes(client) && isOpen(client)) {
      this.errors.push(`a live token was answered ${answer.status}`)
    }
  }

  /** Somebody's access ends, somebody else's begins. */
  async #change(): Promise<void> {
    const { random, node } = this
    const client = random.any(this.#clients)
    if (!client) return
    const deed = random.weighted({ revoke: 10, many: 1, rotate: 3, kill: 0.2 })
    if (deed === 'rotate') return this.#rotate(client)
    if (deed === 'kill') {
      await node.api('DELETE', '/servers/up/connections')
      const cut = this.#clients
      this.#clients = []
      for (const one of cut) {
        one.stream[Symbol.dispose]()
        await this.#openStream(one)
      }
      return
    }
    const subject = `person-${random.below(40)}@example.com`
    const before = this.#clients
    if (deed === 'revoke') this.#clients = before.filter((one) => one !== client)
    else this.#clients = []
    const receipt = await node.revoke(deed === 'revoke' ? { tokens: [client.id] } : { subject })
    const dead = new Set(receipt.tokens.map(({ id }) => id))
    if (deed === 'many') this.#clients = before.filter(({ id }) => !dead.has(id))
    this.counts.revocations += 1
    this.counts['tokens revoked'] += dead.size
    if (receipt.timings.lastCutMs !== null) this.#cutMs.push(receipt.timings.lastCutMs)
    if (!receipt.durable) this.errors.push('a revocation was not durable')
    for (const one of before.filter(({ id }) => dead.has(id))) {
      const { status } = await ask(node.gate, { target: '/s/up/x', headers: bearer(one.secret) })
      if (status !== 401) this.errors.push(`a dead token was answered ${status}`)
      await eventually(() => !isOpen(one), { what: 'the stream of a dead token ends' })
      if (!one.stream.text.includes('token_revoked')) this.errors.push('a stream ended without its last words')
      one.stream[Symbol.dispose]()
    }
    await this.fill()
  }

  async #rotate(client: Client): Promise<void> {
    this.#clients = this.#clients.filter((one) => one !== client)
    const { json } = await this.node.api<{ token: string }>('POST', `/tokens/${client.id}/rotations`)
    this.counts.rotations += 1
    await eventually(() => !isOpen(client), { what: 'the stream of a rotated secret ends' })
    client.stream[Symbol.dispose]()
    await this.#openStream({ id: client.id, secret: json.token })
  }

  async #read(): Promise<void> {
    const path = this.random.any([
      '/tokens?limit=50',
      '/audit?order=desc&limit=50',
      '/connections?limit=50',
      '/servers',
    ])
    const { status } = await this.node.api('GET', path ?? '/node')
    if (status !== 200) this.errors.push(`${path} was answered ${status}`)
  }

  /** Stops what is asked, reads the figures, and goes on. */
  async row(atMs: number): Promise<Row> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#pause = promise
    await eventually(() => this.#busy === 0, { timeoutMs: 30_000, what: 'nothing is asked any more' })
    const open = this.#clients.filter(isOpen).length
    if (open !== this.#clients.length) this.errors.push(`${this.#clients.length - open} streams ended by themselves`)
    const connections = async () => (await this.node.api<NodeJson>('GET', '/node')).json.connections
    // A connection ends on the client's side first.
    await eventually(async () => (await connections()) === open, { what: 'both sides count the same' }).catch(() =>
      this.errors.push('the registry and the clients count differently'),
    )
    const row = { ...(await this.#figures(atMs)), connections: await connections(), open }
    this.rows.push(row)
    resolve()
    return row
  }

  async #figures(atMs: number): Promise<Omit<Row, 'connections' | 'open'>> {
    const { node, counts } = this
    const { database, journal } = filesOf(node.data)
    const metrics = await (await fetch(`${node.console}/metrics`)).text()
    const metric = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(metrics)?.[1] ?? 0)
    const loop = {
      sum: metric('portcullis_loop_delay_seconds_sum'),
      count: metric('portcullis_loop_delay_seconds_count'),
    }
    const [last] = (await node.api<{ items: AuditRowJson[] }>('GET', '/audit?order=desc&limit=1')).json.items
    const round = (value: number) => Math.round(value * 100) / 100
    const row = {
      atS: Math.round(atMs / 1_000),
      rssMiB: round((await node.residentBytes()) / MIB),
      files: this.files,
      requests: counts.requests - this.#counted.requests,
      askP50Ms: round(quantile(this.#askMs, 0.5)),
      askP99Ms: round(quantile(this.#askMs, 0.99)),
      kills: counts.revocations - this.#counted.revocations,
      cutP50Ms: round(quantile(this.#cutMs, 0.5)),
      cutMaxMs: round(Math.max(0, ...this.#cutMs)),
      loopMs: round(((loop.sum - this.#loop.sum) * 1_000) / Math.max(1, loop.count - this.#loop.count)),
      auditRows: last?.sequence ?? 0,
      databaseKiB: round([database, `${database}-wal`].reduce((sum, file) => sum + statSync(file).size, 0) / 1024),
      journalBytes: readFileSync(journal).findLastIndex((byte) => byte !== 0) + 1,
      errors: this.errors.length - this.#counted.errors,
    }
    this.#askMs = []
    this.#cutMs = []
    this.#loop = loop
    this.#counted = { requests: counts.requests, revocations: counts.revocations, errors: this.errors.length }
    return row
  }

  async run(size: Size): Promise<void> {
    const working = [
      ...Array.from({ length: ASKING }, () => this.#repeat(ASK_MS, () => this.#ask())),
      this.#repeat(CHANGE_MS, () => this.#change()),
      this.#repeat(1_000, () => this.#read()),
    ]
    console.log(COLUMNS.map((column) => column.padStart(13)).join(''))
    const startedAt = performance.now()
    for (let row = 1; row * ROW_MS[size] <= LASTS_MS[size]; row += 1) {
      await Bun.sleep(Math.max(0, startedAt + row * ROW_MS[size] - performance.now()))
      const figures = await this.row(performance.now() - startedAt)
      console.log(COLUMNS.map((column) => String(figures[column]).padStart(13)).join(''))
    }
    this.#working = false
    await Promise.all(working)
  }

  /** Everything that lives is killed. */
  async end(): Promise<void> {
    await this.node.revoke({ all: true })
    await eventually(() => !this.#clients.some(isOpen), { what: 'the last stream ends' })
    for (const { stream } of this.#clients) stream[Symbol.dispose]()
  }
}

/** What was not flat: the middle of the last third of the rows beside that of the second. */
const unevenness = (rows: readonly Row[], size: Size): string[] => {
  const third = Math.floor(rows.length / 3)
  const medians = (column: keyof Row) =>
    [rows.slice(third, 2 * third), rows.slice(2 * third)].map((part) =>
      quantile(
        part.map((row) => row[column]),
        0.5,
      ),
    )
  const found: string[] = []
  const flat = (column: keyof Row, allowed: (before: number) => number) => {
    const [before = 0, after = 0] = medians(column)
    if (after > allowed(before)) found.push(`${column} went from ${before} to ${after}`)
  }
  flat('rssMiB', (before) => before * (1 + RSS_GROWTH) + RSS_NOISE_MIB)
  flat('files', (before) => before + FILES_NOISE)
  // In seconds nothing can be said about how fast it is on a machine that does other things too.
  if (size === 'short') return found
  for (const column of ['askP50Ms', 'askP99Ms', 'cutP50Ms', 'loopMs'] as const) {
    flat(column, (before) => before * SLOWER + SLOWER_MS)
  }
  const perChange = (from: number, to: number) => {
    const [first, last] = [rows[from], rows[to]]
    if (!first || !last) return 0
    return (last.databaseKiB - first.databaseKiB) / Math.max(1, last.auditRows - first.auditRows)
  }
  const [before, after] = [perChange(third, 2 * third), perChange(2 * third, rows.length - 1)]
  if (after > before * 2 + 1) found.push(`a change took ${before.toFixed(2)} KiB, and then ${after.toFixed(2)}`)
  return found
}

/** `bun run faults soak`: mixed load and random revocations; the figures over time, flat. */
export const run: FaultPart = async (size, seed) => {
  const upstream = await startMixed(TALK_MS)
  const node = await startNode({ command: [builtBinary()], args: ['--log-level', 'warn'] })
  const soak = new Soak(node, new Random(seed))
  const failures: string[] = []
  try {
    await node.addServer('up', upstream.url)
    for (const path of ['/tokens', '/audit', '/node']) await node.api('GET', path)
    const atStart = soak.files
    await soak.fill()
    await soak.run(size)
    await soak.end()
    const registry = async () => (await node.api<NodeJson>('GET', '/node')).json.connections === 0
    await eventually(registry, { what: 'the registry is empty' })
    upstream.stop()
    await eventually(() => soak.files <= atStart + FILES_NOISE, {
      timeoutMs: 15_000,
      what: `${soak.files} open files go back to the ${atStart} of the start`,
    })
    const rssMiB = (await node.residentBytes()) / MIB
    const most = Math.max(...soak.rows.map((row) => row.rssMiB))
    if (rssMiB > most + RSS_NOISE_MIB) failures.push(`at the end it holds ${rssMiB.toFixed(0)} MiB, and never ${most}`)
    console.log(
      `at the end: ${rssMiB.toFixed(0)} MiB, ${soak.files} open files of ${atStart} at the start, 0 connections`,
    )
    failures.push(...unevenness(soak.rows, size))
    if (soak.rows.some(({ journalBytes }) => journalBytes > 0)) failures.push('the journal was not empty')
  } catch (error) {
    failures.push(String(error))
  } finally {
    upstream.stop()
    const code = await node.stop()
    if (code !== 0) failures.push(`it stopped with ${code}`)
  }
  failures.push(...soak.errors.slice(0, 20))
  return { counts: { ...soak.counts, rows: soak.rows.length, errors: soak.errors.length }, failures }
}
