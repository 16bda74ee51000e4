import type { Transport } from '@modelcontextprotocol/server'
import type { Caller } from '../upstream.ts'
import type { ProcessEnd } from './process.ts'
import type { Lease } from './supervisor.ts'

/** What a session speaks to: a process of its own, or its place at one that is shared. */
export interface Link extends Transport {
  /** How it ended: with the process, or alone. */
  readonly ended: Promise<ProcessEnd>
  /** The session's client has more unread than it may. */
  pause(): void
  resume(): void
  /** In use: not idle while any use is held. */
  use(): () => void
  touch(caller: Caller): void
  /** The session is over. */
  stop(): void
}

/** A process that one session has for itself. */
class OwnLink implements Link {
  constructor(readonly lease: Lease) {}

  get ended(): Promise<ProcessEnd> {
    return this.lease.process.ended
  }

  get onmessage(): Transport['onmessage'] {
    return this.lease.process.onmessage
  }

  set onmessage(listener: Transport['onmessage']) {
    this.lease.process.onmessage = listener
  }

  get onclose(): Transport['onclose'] {
    return this.lease.process.onclose
  }

  set onclose(listener: Transport['onclose']) {
    this.lease.process.onclose = listener
  }

  get onerror(): Transport['onerror'] {
    return this.lease.process.onerror
  }

  set onerror(listener: Transport['onerror']) {
    this.lease.process.onerror = listener
  }

  start(): Promise<void> {
    return this.lease.process.start()
  }

  send(...[message]: Parameters<Transport['send']>): Promise<void> {
    return this.lease.process.send(message)
  }

  async close(): Promise<void> {
    this.stop()
  }

  pause(): void {
    this.lease.process.pause()
  }

  resume(): void {
    this.lease.process.resume()
  }

  use(): () => void {
    return this.lease.use()
  }

  touch(caller: Caller): void {
    this.lease.touch(caller)
  }

  stop(): void {
    this.lease.stop()
  }
}

export const ownLink = (lease: Lease): Link => new OwnLink(lease)
