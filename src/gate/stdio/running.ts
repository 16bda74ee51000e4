import { type Connection, connectionId, type CutCause, type Registry } from '../../registry.ts'
import type { StdioSpec } from '../../stdio.ts'
import { deadlineOf, type Secret } from '../../token.ts'
import type { Upstream } from '../../upstream.ts'
import type { Caller } from '../upstream.ts'
import type { Process } from './process.ts'

const lastsUntil = (secret: Secret): number => deadlineOf(secret) ?? Infinity

/** A process under a token, as the registry cuts it. */
export class ProcessConnection implements Connection {
  readonly kind = 'process'
  readonly method = 'STDIO'
  readonly id: string
  readonly address: string
  readonly bytesIn = 0
  readonly bytesOut = 0
  secret: Secret
  client: string | null

  constructor(
    readonly number: number,
    readonly server: Upstream,
    caller: Caller,
    readonly path: string,
    readonly startedAt: number,
    readonly running: Running,
  ) {
    this.id = connectionId(number)
    this.secret = caller.secret
    this.address = caller.address
    this.client = caller.client
  }

  end(cause: CutCause): void {
    this.running.mute(cause)
  }

  release(): void {
    this.running.stop()
  }
}

/** A process and its use. It has its place, and can be cut, before it is there. */
export class Running {
  process: Process | null = null
  connection: ProcessConnection | null = null
  /** Told to end, or cut: it serves nobody any more, but may live through its grace. */
  ending = false
  trial = false
  /** It has said something. */
  heard = false
  /** Why it was cut. */
  cause: CutCause | null = null
  #uses = 0
  #idleSince = performance.now()

  constructor(
    readonly server: Upstream,
    readonly spec: StdioSpec,
    /** Null: nobody's. */
    readonly tokenId: string | null,
    readonly registry: Registry,
  ) {}

  /** How long nobody has used it; null: it is in use, not there yet, or ends. */
  idleMs(now: number): number | null {
    return this.process && !this.ending && this.#uses === 0 ? now - this.#idleSince : null
  }

  /** Since when it lives, by `performance.now()`; null: not yet. */
  get startedAt(): number | null {
    return this.process?.startedAt ?? null
  }

  use(): () => void {
    let held = true
    this.#uses += 1
    return () => {
      if (!held) return
      held = false
      this.#uses -= 1
      this.#idleSince = performance.now()
    }
  }

  /** The same token, maybe with its newer secret: it goes on when the old one dies, whoever has used that meanwhile. */
  touch({ secret, client }: Caller): void {
    const { connection } = this
    if (connection?.secret.token !== secret.token) return
    if (lastsUntil(secret) >= lastsUntil(connection.secret)) connection.secret = secret
    connection.client = client ?? connection.client
  }

  mute(cause: CutCause): void {
    this.ending = true
    this.cause ??= cause
    this.process?.mute()
  }

  stop(): void {
    this.ending = true
    if (this.connection) this.registry.remove(this.connection)
    this.process?.stop()
  }
}
