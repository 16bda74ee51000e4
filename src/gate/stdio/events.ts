import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import type { Held, Room } from './room.ts'

interface Event extends Held {
  streamId: string
  json: string
}

/** The events of one session, for a client that comes back to a stream (`Last-Event-ID`): the latest, within limits. */
export class SessionEvents implements EventStore {
  /** By number, the oldest first. */
  readonly #events = new Map<number, Event>()
  #bytes = 0
  #last = 0

  constructor(
    readonly limits: Limits,
    readonly room: Room,
    /** Is told of which of the SDK's streams each event is. */
    readonly onEvent: (streamId: string) => void,
  ) {}

  storeEvent(streamId: string, message: JSONRPCMessage): Promise<string> {
    this.#last += 1
    this.onEvent(streamId)
    // The SDK opens a stream with an event that has no data, only to give it an id.
    if ('jsonrpc' in message) this.#keep(this.#last, streamId, JSON.stringify(message))
    return Promise.resolve(`${this.#last}-${streamId}`)
  }

  getStreamIdForEventId(eventId: string): Promise<string | undefined> {
    return Promise.resolve(streamOf(eventId))
  }

  async replayEventsAfter(
    lastEventId: string,
    { send }: { send: (eventId: string, message: JSONRPCMessage) => Promise<void> },
  ): Promise<string> {
    const streamId = streamOf(lastEventId) ?? ''
    const after = Number.parseInt(lastEventId, 10)
    for (const [number, event] of this.#events) {
      if (number <= after || event.streamId !== streamId) continue
      await send(`${number}-${streamId}`, JSON.parse(event.json) as JSONRPCMessage)
    }
    return streamId
  }

  /** Nobody comes back to them. */
  clear(): void {
    for (const number of [...this.#events.keys()]) this.#drop(number)
  }

  #keep(number: number, streamId: string, json: string): void {
    const { stdioEventsMax, stdioEventBytesMax } = this.limits
    // One that is too large alone must not drive out all the others.
    if (json.length > stdioEventBytesMax) return
    const event: Event = { streamId, json, bytes: json.length, drop: () => this.#drop(number) }
    this.#events.set(number, event)
    this.#bytes += event.bytes
    for (const oldest of this.#events.keys()) {
      if (this.#events.size <= stdioEventsMax && this.#bytes <= stdioEventBytesMax) break
      this.#drop(oldest)
    }
    this.room.add(event)
  }

  #drop(number: number): void {
    const event = this.#events.get(number)
    if (!event) return
    this.#events.delete(number)
    this.#bytes -= event.bytes
    this.room.remove(event)
  }
}

/** The stream that an event is of, if the id is one of ours. */
export const streamOf = (eventId: string): string | undefined => /^\d+-(.+)$/.exec(eventId)?.[1]
