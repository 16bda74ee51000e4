import {
  type InitializeResult,
  INVALID_PARAMS,
  type JSONRPCMessage,
  type JSONRPCRequest,
  METHOD_NOT_FOUND,
  type RequestId,
  type Transport,
} from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import { Behind } from './behind.ts'
import type { StdioServer } from './launch.ts'
import { LEVELS } from './levels.ts'
import type { Link } from './link.ts'
import type { Port } from './mux.ts'
import type { ProcessEnd } from './process.ts'
import type { Lease } from './supervisor.ts'

/** Longer ones fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** What the gate has said itself, or has no use for: its own client declares no capabilities. */
const SWALLOWED = new Set(['notifications/initialized', 'notifications/roots/list_changed'])

const OF_TASKS = /^tasks\//

type Answer = { result: Record<string, unknown> } | { error: { code: number; message: string } }

/** What a session's place asks of the process that it is at. */
export interface SharedSide {
  readonly lease: Lease
  readonly server: StdioServer
  readonly limits: Limits
  readonly initialized: InitializeResult
  /** What a client is told that asks for a revision. */
  initializedFor(revision: unknown): InitializeResult
  /** Whether any session has subscribed to it. */
  subscribed(uri: string): boolean
  /** A session wants to hear more, or less, of the log. */
  adjustLevel(): void
  left(link: SharedLink): void
}

/** One session's place at a shared process. */
export class SharedLink implements Link {
  onmessage?: Transport['onmessage']
  onclose?: Transport['onclose']
  onerror?: Transport['onerror']
  readonly subscriptions = new Set<string>()
  /** An index of LEVELS; null: the client did not say. */
  level: number | null = null
  readonly #ended = Promise.withResolvers<ProcessEnd>()
  readonly #subscribing = new Map<RequestId, string>()
  #uses = 0
  #idle: NodeJS.Timeout | undefined
  readonly #behind: Behind

  constructor(
    readonly process: SharedSide,
    readonly port: Port,
  ) {
    this.#behind = new Behind(process.limits)
    port.onmessage = (message) => this.#received(message)
    port.onclose = () => this.#closed()
    this.#watch()
  }

  get ended(): Promise<ProcessEnd> {
    return this.#ended.promise
  }

  async start(): Promise<void> {}

  async send(message: JSONRPCMessage): Promise<void> {
    if ('method' in message && 'id' in message) return this.#ask(message)
    if ('method' in message && SWALLOWED.has(message.method)) return
    return this.port.send(message)
  }

  async #ask(message: JSONRPCRequest): Promise<void> {
    const { id, method } = message
    const params = message.params ?? {}
    const own = this.#ownAnswer(id, method, params)
    if (!own) return this.port.send(message)
    // Later, as an answer comes.
    queueMicrotask(() => this.give({ jsonrpc: '2.0', id, ...own }))
  }

  /** What the gate answers in place of the process; null: that is the one to ask. */
  #ownAnswer(id: RequestId, method: string, params: Record<string, unknown>): Answer | null {
    const { initialized, limits } = this.process
    const uri = String(params['uri'])
    const level = LEVELS.indexOf(String(params['level']))
    if (method === 'initialize') return { result: this.process.initializedFor(params['protocolVersion']) }
    if (OF_TASKS.test(method)) return { error: { code: METHOD_NOT_FOUND, message: 'Method not found' } }
    if (method === 'resources/subscribe') {
      if (this.subscriptions.size >= limits.stdioSubscriptionsMax)
        return { error: { code: INVALID_PARAMS, message: `More than ${limits.stdioSubscriptionsMax} subscriptions` } }
      this.subscriptions.add(uri)
      this.#subscribing.set(id, uri)
    } else if (method === 'resources/unsubscribe') {
      this.subscriptions.delete(uri)
      // Others still want to hear of it.
      if (this.process.subscribed(uri)) return { result: {} }
    } else if (method === 'logging/setLevel' && level >= 0 && initialized.capabilities.logging) {
      this.level = level
      this.process.adjustLevel()
      return { result: {} }
    }
    return null
  }

  #received(message: JSONRPCMessage): void {
    if (!('method' in message) && message.id !== undefined) {
      const uri = this.#subscribing.get(message.id)
      this.#subscribing.delete(message.id)
      if (uri !== undefined && 'error' in message) this.subscriptions.delete(uri)
    }
    this.give(message)
  }

  wants(level: unknown): boolean {
    return this.level === null || LEVELS.indexOf(String(level)) >= this.level
  }

  give(message: JSONRPCMessage): void {
    if (this.#behind.tooMuch(message)) return this.#end('the session was ended, since its client reads too slowly')
    this.onmessage?.(message)
  }

  pause(): void {
    this.#behind.pause()
  }

  resume(): void {
    this.#behind.resume()
  }

  use(): () => void {
    const release = this.process.lease.use()
    let held = true
    this.#uses += 1
    clearTimeout(this.#idle)
    return () => {
      if (!held) return
      held = false
      this.#uses -= 1
      release()
      this.#watch()
    }
  }

  /** A session that nobody uses ends, though its process may go on. */
  #watch(): void {
    if (this.#uses > 0) return
    const { idleMs } = this.process.server.stdio
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => this.#end('nobody used the session'), Math.min(idleMs, TIMER_MS_MAX))
  }

  touch(): void {
    // The process is nobody's.
  }

  stop(): void {
    this.#end('the session is over')
  }

  close(): Promise<void> {
    this.stop()
    return Promise.resolve()
  }

  #end(detail: string): void {
    this.#ended.resolve({ code: null, signal: null, crashed: false, detail })
    void this.port.close()
  }

  #closed(): void {
    clearTimeout(this.#idle)
    const { end } = this.process.lease.process
    if (end) this.#ended.resolve(end)
    this.process.left(this)
    this.onclose?.()
  }
}
