import type { Refusal } from '../cluster-measures.ts'
import type { Message } from './message.ts'

export type { Refusal }

export interface TransportEvents {
  /** Frames can go both ways: both have proved who they are. Told once until `unlinked`. */
  linked(peer: string): void
  unlinked(peer: string): void
  message(peer: string, message: Message): void
  refused(reason: Refusal): void
}

/** How sealed frames travel. It keeps links to all members that it is told of, and drops those to others. */
export interface Transport {
  readonly name: 'websocket' | 'nats'
  start(): Promise<void>
  /** Those to be linked to; anew after each change of members. This node is not among them. */
  members(members: readonly { id: string; url: string; key: string }[]): void
  /** Hands a frame to the socket in this run of the loop; dropped when there is no link. Returns whether there was one. */
  send(to: string, message: Message): boolean
  /** To all linked members. */
  broadcast(message: Message): void
  /** Ends one link, to be made anew: what waits in its buffers is too much. */
  drop(peer: string): void
  linked(): readonly string[]
  stop(): void
}
