import { readFileSync } from 'node:fs'
import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node'
import { messageOf } from '../error.ts'
import type { Limits } from '../limits.ts'

export interface NatsSettings {
  /** `nats://HOST:PORT` or `tls://HOST:PORT`. */
  urls: readonly string[]
  /** A credentials file of `nsc`; read again at each connection, so that it may be renewed. */
  credsFile: string | null
}

export interface NatsConnectionDeps {
  settings: NatsSettings
  /** What the servers' monitoring shows this client as. */
  name: string
  limits: Pick<Limits, 'natsRetryMs' | 'natsPingMs' | 'natsConnectMs'>
  /** Of every connection anew: subscribe here. */
  onConnection(connection: NatsConnection): void
  /** What an operator should know. */
  warn(text: string): void
}

/** The security flaws known of older ones (CVE-2025-30215 was the last) are repaired from this version on. */
const VERSION_MIN = [2, 10, 27] as const

const isOld = (version: string): boolean => {
  const parts = version.split('.').map((part) => Number.parseInt(part, 10))
  const place = VERSION_MIN.findIndex((least, index) => parts[index] !== least)
  return place !== -1 && !((parts[place] ?? 0) > (VERSION_MIN[place] as number))
}

/** One client of NATS that never gives up: it connects, and connects again. */
export class NatsLine {
  readonly #servers: string[]
  #connection: NatsConnection | null = null
  #up = false
  #stopped = false
  /** What was warned of last: a server that is away is told once, and not each second. */
  #warned = ''
  #wait: { timer: NodeJS.Timeout; end: () => void } | null = null

  constructor(readonly deps: NatsConnectionDeps) {
    this.#servers = deps.settings.urls.map((url) => new URL(url).host)
  }

  /** Resolves after the first try, whatever came of it: a node may have to serve without the others. */
  start(): Promise<void> {
    return new Promise((resolve) => {
      void this.#keep(resolve)
    })
  }

  /** The connection, while frames can go out on it. */
  get up(): NatsConnection | null {
    return this.#up ? this.#connection : null
  }

  async #keep(tried: () => void): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#connect(tried)
      } catch (error) {
        this.#warn(`NATS at ${this.#servers.join(', ')}: ${messageOf(error)}`)
      }
      tried()
      if (!this.#stopped) await this.#pause()
    }
  }

  /** Returns when the connection is closed for good. */
  async #connect(connected: () => void): Promise<void> {
    const { settings, name, limits } = this.deps
    const { urls, credsFile } = settings
    const connection = await connect({
      servers: this.#servers,
      // Who writes tls:// once wants no server without it.
      ...(urls.some((url) => url.startsWith('tls:')) && { tls: {} }),
      ...(credsFile !== null && { authenticator: credsAuthenticator(() => readFileSync(credsFile)) }),
      name,
      noEcho: true,
      timeout: limits.natsConnectMs,
      pingInterval: limits.natsPingMs,
      maxPingOut: 2,
      reconnectTimeWait: limits.natsRetryMs,
      maxReconnectAttempts: -1,
    })
    if (this.#stopped) return connection.close()
    this.#connection = connection
    const statuses = connection.status()
    this.#isUp(connection)
    this.deps.onConnection(connection)
    connected()
    for await (const status of statuses) {
      if (status.type === 'disconnect') this.#isDown()
      else if (status.type === 'reconnect') this.#isUp(connection)
      else if (status.type === 'error') this.#warn(`NATS: ${status.error.message}`)
    }
    this.#isDown()
  }

  #isUp({ info }: NatsConnection): void {
    this.#up = true
    this.#warned = ''
    if (info && isOld(info.version)) {
      this.#warn(
        `NATS server ${info.version} has known security flaws: upgrade it to ${VERSION_MIN.join('.')} or newer`,
      )
    }
  }

  #isDown(): void {
    this.#up = false
    if (!this.#stopped) this.#warn(`no connection to NATS at ${this.#servers.join(', ')}: trying again`)
  }

  #warn(text: string): void {
    if (text === this.#warned) return
    this.#warned = text
    this.deps.warn(text)
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      this.#wait = { timer: setTimeout(resolve, this.deps.limits.natsRetryMs), end: resolve }
    })
  }

  stop(): void {
    this.#stopped = true
    this.#up = false
    clearTimeout(this.#wait?.timer)
    this.#wait?.end()
    // What was said last goes out; on a connection that is down already it can't.
    this.#connection?.flush().catch(() => undefined)
    void this.#connection?.close()
  }
}
