import { call } from '../support/call.ts'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Activity } from '../../src/activity.ts'
import { alone } from '../../src/alone.ts'
import { NOBODY } from '../../src/cluster-view.ts'
import { Fold } from '../../src/audit.ts'
import { Control, putState } from '../../src/control.ts'
import { Emergency } from '../../src/emergency.ts'
import type { Exchange } from '../../src/gate/exchange.ts'
import { Gate } from '../../src/gate/gate.ts'
import { Issuance } from '../../src/issuance.ts'
import { type Limits, limits } from '../../src/limits.ts'
import { Receipts } from '../../src/receipt.ts'
import { Placement } from '../../src/placement.ts'
import { type Connection, Registry } from '../../src/registry.ts'
import { denyRecord, Revocations } from '../../src/revocation.ts'
import { filesOf } from '../../src/store/folder.ts'
import { openJournal } from '../../src/store/journal.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { RevocationStore } from '../../src/store/revocation.ts'
import { ServerStore } from '../../src/store/server.ts'
import { TokenStore } from '../../src/store/token.ts'
import { Standing } from '../../src/standing.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { Evidence, UsageMeter } from '../../src/usage.ts'
import { Disk } from './order-disk.ts'
import type { ModelToken } from './order-model.ts'
import { READ_BYTES_MAX, TAIL_BYTES_MAX } from './order-request.ts'
import type { FakeTime } from './order-time.ts'

/** Small enough to be passed in a few steps. */
export const small: Limits = {
  ...limits,
  rpcBodyBytesMax: READ_BYTES_MAX,
  eventTailBytesMax: TAIL_BYTES_MAX,
  connectionsPerTokenMax: 6,
  journalBytes: 8 * 1024,
}

/** One database and one journal for all interleavings: each begins with the same tokens, and with nothing in the journal. */
export class Ground {
  readonly #folder = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'portcullis-order-'))
  readonly #startedAt: number
  readonly store: Store
  readonly tokenStore: TokenStore
  readonly serverStore: ServerStore
  readonly revocationStore: RevocationStore
  readonly journalFile: string
  /** What each interleaving begins with. */
  tokens: readonly ModelToken[] = []

  constructor(readonly time: FakeTime) {
    this.#startedAt = time.wallMs
    const { key, journal } = filesOf(this.#folder)
    this.store = openStore({ folder: this.#folder, keyFile: key, version: '0', now: () => time.wallMs })
    // Nothing here is about the disk: that is what `power` and `disk` are for.
    this.store.client.run('PRAGMA synchronous = OFF')
    this.tokenStore = new TokenStore(this.store)
    this.serverStore = new ServerStore(this.store)
    this.revocationStore = new RevocationStore(this.store)
    this.journalFile = journal
  }

  /** What an interleaving writes is inside of this, and gone after it. */
  begin(): void {
    this.time.wallMs = this.#startedAt
    this.time.clear()
    this.time.thrown.length = 0
    this.store.client.run('BEGIN')
  }

  end(): void {
    this.store.client.run('ROLLBACK')
    const journal = openJournal(this.journalFile, small.journalBytes)
    journal.read()
    journal.clear()
    journal.close()
  }

  close(): void {
    this.store.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Receipts come after the cut, by the clock of the runtime: they are none of the order. */
class NoReceipts extends Receipts {
  override keep(): Promise<void> {
    return Promise.resolve()
  }
}

/** What the registry is told, for the model. */
class WatchedRegistry extends Registry {
  onAdd: (connection: Connection) => void = () => undefined
  onRemove: (connection: Connection) => void = () => undefined

  override add(connection: Connection): void {
    super.add(connection)
    this.onAdd(connection)
  }

  override remove(connection: Connection): boolean {
    this.onRemove(connection)
    return super.remove(connection)
  }
}

export type Domain = ReturnType<typeof startDomain>

/** Builds the domain as `main.ts` does, out of what the database and the journal hold. */
export const startDomain = (ground: Ground, took: Disk['took'], onCrash: Disk['onCrash']) => {
  const { store, tokenStore, serverStore, revocationStore, journalFile } = ground
  const now = () => ground.time.wallMs
  const servers = new UpstreamIndex()
  for (const server of serverStore.all()) servers.add(server)
  const tokens = new TokenIndex()
  tokenStore.load(tokens)
  const registry = new WatchedRegistry(small, now)
  const usage = new UsageMeter()
  const disk = new Disk(revocationStore, openJournal(journalFile, small.journalBytes), took, onCrash)
  const emergency = new Emergency(disk, disk, small, () => undefined)
  for (const entry of emergency.pending) {
    if (entry.op === 'revocation') entry.record = denyRecord(entry.record, tokens, entry.issuedUntil)
    else if (entry.record.action !== 'kill')
      putState(
        entry.record.servers.flatMap(({ id }) => servers.byId.get(id) ?? []),
        entry.record.action,
        entry.record.reason,
      )
  }
  const receipts = new NoReceipts({ store: revocationStore, emergency, limits: small, onLate: () => undefined })
  const gate = new Gate({
    tokens,
    servers,
    registry,
    keys: store.keys,
    usage,
    evidence: new Evidence({ evidenceOf: () => new Map(), putEvidence: () => undefined }, small),
    activity: new Activity(small),
    fold: new Fold(small.foldKeysMax),
    limits: small,
    now,
    standing: new Standing(() => performance.now()),
    hosts: [],
    origins: [],
    trustedProxies: [],
    publicUrl: new URL('http://localhost'),
    call,
    placement: new Placement({ node: 'node_1', formerly: [], cluster: alone }),
    onUpstreamError: () => undefined,
    onAnswered: () => undefined,
  })
  return {
    tokens,
    servers,
    registry,
    usage,
    disk,
    emergency,
    gate,
    control: new Control({
      servers,
      registry,
      emergency,
      store: serverStore,
      now,
      placement: new Placement({ node: store.node, formerly: [], cluster: alone }),
    }),
    issuance: new Issuance({ tokens, servers, registry, keys: store.keys, store: tokenStore, now }),
    revocations: new Revocations({ tokens, servers, registry, emergency, receipts, peers: NOBODY, now }),
    /** Of the gate's exchanges, once there was one: its lists are looked into at the end. */
    shared: null as Exchange['deps'] | null,
  }
}
