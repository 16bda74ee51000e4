import { Database } from 'bun:sqlite'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { filesOf } from '../../src/store/folder.ts'
import { clockAhead, hasFaketime } from '../support/faketime.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import type { Random } from '../support/random.ts'
import { tempFolder } from '../support/temp.ts'
import { Ledger } from './ledger.ts'
import { Load, SERVERS } from './load.ts'

/** When a node is killed, each as often as its weight says. */
export const MOMENTS = {
  /** Anywhere in a round. */
  anywhere: 30,
  /** A few milliseconds after a revocation was sent: before, in, and after its commit. */
  revoking: 25,
  /** In the turn in which a revocation's answer was read. */
  answered: 8,
  /** Many revocations at once. */
  burst: 8,
  /** While it starts. */
  starting: 10,
  /** After SIGTERM. */
  stopping: 6,
  /** While the database refuses, and revocations go to the journal. */
  journal: 6,
  /** When the database takes what waited in the journal. */
  replaying: 3,
  /** While the -wal is folded into the database. */
  checkpoint: 2,
  backup: 2,
  verification: 2,
  certificate: 2,
  /** After a minute ended, so that what was counted before it must be there. */
  minute: 1.5,
} as const
export type Moment = keyof typeof MOMENTS

const WORKERS = 4
const ROUND_MS = 250
const REVOKING_MS = 5
const BURST = 12
const STARTING_MS = 200
const STOPPING_MS = 60
const REPLAYING_MS = 1_200
const BEFORE_MINUTES_END_MS = 2_500
const BACKUP_MS = 60
/** Worth a line. One that hangs is ended by `startNode`. */
const SLOW_START_MS = 2_000
/** SQLite folds it at 4 MiB; a commit may go past that. */
const WAL_BYTES_MAX = 16 * 1024 * 1024

/** What may lie in a data folder; everything else is a leftover. */
const FILES = [
  'control.sock',
  ...['db', 'db-shm', 'db-wal', 'journal', 'key', 'lock'].map((end) => `portcullis.${end}`),
]

/** How far a clock must be ahead of ours to stand a little before the end of a minute. */
const untilMinutesEnd = (): number => Math.max(0, 60_000 - (Date.now() % 60_000) - BEFORE_MINUTES_END_MS)

/** Lets the loop turn, for less than a timer could. */
const spin = async (ms: number): Promise<void> => {
  const until = performance.now() + ms
  while (performance.now() < until) await new Promise(setImmediate)
}

/** The flags of a certificate that is made there. */
export const makeCertificate = async (folder: string): Promise<string[]> => {
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 2 -subj /CN=localhost`.quiet()
  return ['--tls-cert', cert, '--tls-key', key]
}

/** Takes the write lock of the database, so that the node's own writes are refused. */
const holdDatabase = (data: string): (() => void) => {
  const other = new Database(filesOf(data).database)
  other.run('PRAGMA busy_timeout = 5000')
  other.run('BEGIN IMMEDIATE')
  return () => {
    other.run('ROLLBACK')
    other.close()
  }
}

/** The minutes of usage that are written, read beside the node. */
const requestsWritten = (data: string): number => {
  const other = new Database(filesOf(data).database, { readonly: true })
  try {
    const row = other.query('SELECT coalesce(sum(requests), 0) AS written FROM usage_totals').get()
    return (row as { written: number }).written
  } finally {
    other.close()
  }
}

/** One data folder, and all that happens to it. */
export class World {
  readonly data = tempFolder()
  readonly ledger = new Ledger()
  readonly startsMs: number[] = []
  readonly moments: Moment[] = []
  kills = 0
  deeds = 0

  constructor(
    readonly command: string[],
    readonly random: Random,
    readonly upstream: string,
    readonly tls: string[],
  ) {}

  async start(moment: Moment): Promise<TestNode> {
    const { data, command } = this
    const before = performance.now()
    this.ledger.aheadMs = moment === 'minute' && hasFaketime() ? untilMinutesEnd() : 0
    const node = await startNode({
      data,
      command,
      args: ['--log-level', 'warn', ...(moment === 'certificate' ? this.tls : [])],
      ...(this.ledger.aheadMs > 0 && { env: clockAhead(this.ledger.aheadMs) }),
    })
    const tookMs = performance.now() - before
    this.startsMs.push(tookMs)
    if (tookMs > SLOW_START_MS) {
      const after = this.moments.slice(-2).join(', ')
      console.error(`a start took ${tookMs.toFixed(0)} ms (${after}; load ${loadavg()[0]?.toFixed(1)})`)
    }
    return node
  }

  async setUp(): Promise<void> {
    const node = await this.start('anywhere')
    for (const name of SERVERS) await node.addServer(name, this.upstream)
    const load = new Load(node, this.ledger, this.random)
    for (const server of ['all', 'all', 'all', 'door']) await load.issue([server])
    await node.stop()
  }

  /** Starts a node, sees whether all holds, loads it, and kills it at that moment. */
  async round(moment: Moment): Promise<void> {
    const { ledger, random } = this
    this.moments.push(moment)
    if (moment === 'starting') return this.killStarting()
    const node = await this.start(moment)
    await ledger.settle(node, random)
    this.lookForLeftovers()
    const load = new Load(node, ledger, random)
    await this[moment](node, load)
    await this.kill(node, load)
    this.deeds += Object.values(load.counts).reduce((sum, count) => sum + count, 0)
  }

  async kill(node: TestNode, load: Load): Promise<void> {
    load.killed = true
    node.kill('SIGKILL')
    this.kills += 1
    await node.stop()
    await load.over()
    await load.streamsEnd()
  }

  /** The last look: at everything. */
  async finish(): Promise<void> {
    const node = await this.start('anywhere')
    await this.ledger.settle(node, this.random, true)
    this.lookForLeftovers()
    if ((await node.stop()) !== 0) this.ledger.fail('it did not stop in good order')
  }

  lookForLeftovers(): void {
    const leftovers = readdirSync(this.data).filter((name) => !FILES.includes(name))
    if (leftovers.length > 0) this.ledger.fail(`left over: ${leftovers.join(', ')}`)
    const { size = 0 } = statSync(`${filesOf(this.data).database}-wal`, { throwIfNoEntry: false }) ?? {}
    if (size > WAL_BYTES_MAX) this.ledger.fail(`the -wal has grown to ${size} bytes`)
    if (readFileSync(filesOf(this.data).journal).some((byte) => byte !== 0))
      this.ledger.fail('the journal is not empty')
  }

  // The moments

  async anywhere(_node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS)
  }

  async revoking(_node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.4)
    void load.do('revoke')
    await spin(this.random.next() * REVOKING_MS)
  }

  async answered(_node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.4)
    await load.do('revoke')
  }

  async burst(_node: TestNode, load: Load): Promise<void> {
    for (let count = 0; count < BURST; count += 1) void load.do(count % 2 === 0 ? 'issue' : 'rotate')
    load.start(1)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.2)
    for (let count = 0; count < BURST; count += 1) void load.do('revoke')
    await spin(this.random.next() * REVOKING_MS * 2)
  }

  async killStarting(): Promise<void> {
    const { data, command } = this
    const flags = ['serve', '--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0']
    const child = Bun.spawn([...command, ...flags], {
      env: { PATH: process.env['PATH'] ?? '', HOME: data },
      stdio: ['ignore', 'ignore', 'ignore'],
    })
    await spin(this.random.next() * STARTING_MS)
    child.kill('SIGKILL')
    await child.exited
    this.kills += 1
  }

  async stopping(node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.4)
    // From here on it may refuse, and ends what is under way.
    load.killed = true
    node.kill('SIGTERM')
    await spin(this.random.next() * STOPPING_MS)
  }

  /** Revocations that can't be written; then, as it falls, the kill with the database still held, or given back. */
  async journal(node: TestNode, load: Load): Promise<void> {
    for (let count = 0; count < 4; count += 1) await load.do('issue')
    const giveBack = holdDatabase(this.data)
    for (let count = this.random.below(4); count >= 0; count -= 1) await load.do('revoke')
    await load.do('gate')
    void load.do('revoke')
    await spin(this.random.next() * REVOKING_MS)
    if (this.random.chance(0.5)) {
      giveBack()
      return
    }
    await this.kill(node, load)
    const again = await this.start('anywhere')
    // The database is still held: what the journal holds is in force all the same.
    await this.ledger.knockAll(again)
    giveBack()
    await eventually(async () => (await again.api<{ ready: boolean }>('GET', '/node')).json.ready, {
      what: 'the database takes what waited',
    })
    await this.kill(again, new Load(again, this.ledger, this.random))
  }

  async replaying(_node: TestNode, load: Load): Promise<void> {
    for (let count = 0; count < 6; count += 1) await load.do('issue')
    const giveBack = holdDatabase(this.data)
    for (let count = 0; count < 4; count += 1) await load.do('revoke')
    giveBack()
    await Bun.sleep(this.random.next() * REPLAYING_MS)
  }

  async checkpoint(_node: TestNode, load: Load): Promise<void> {
    const { database } = filesOf(this.data)
    const before = statSync(database).mtimeMs
    load.start(WORKERS)
    const writing = async () => {
      while (!load.killed) await load.do('issue')
    }
    void Promise.all([writing(), writing(), writing()])
    const until = performance.now() + 5_000
    while (statSync(database).mtimeMs === before && performance.now() < until) await spin(0.2)
    await spin(this.random.next() * REVOKING_MS)
  }

  async backup(node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    const taken = node.api('GET', '/backup').catch(() => null)
    await spin(this.random.next() * BACKUP_MS)
    void taken
  }

  async verification(node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    const found = node.api('GET', '/audit/verification').catch(() => null)
    await spin(this.random.next() * BACKUP_MS)
    void found
  }

  async certificate(node: TestNode, load: Load): Promise<void> {
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.4)
    node.kill('SIGHUP')
    await spin(this.random.next() * BACKUP_MS)
  }

  /** What was answered before a minute ended is written when it has ended, and no kill takes it back. */
  async minute(node: TestNode, load: Load): Promise<void> {
    if (!hasFaketime()) {
      console.log('SKIPPED LOUDLY: no libfaketime, so no minute ends when it is wanted')
      return this.anywhere(node, load)
    }
    for (let count = 0; count < 20; count += 1) await load.do('ask')
    const before = requestsWritten(this.data)
    await eventually(() => requestsWritten(this.data) > before, {
      // A machine that is busy may have started it too late for this minute; then it is the next one.
      timeoutMs: 75_000,
      everyMs: 10,
      what: 'the minute ends, and what was counted is written',
    })
    this.ledger.flushed()
    load.start(WORKERS)
    await Bun.sleep(this.random.next() * ROUND_MS * 0.4)
  }
}
