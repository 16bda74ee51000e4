import type { EventStore, JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'

interface Event {
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
    /** Is told of which of the SDK's streams each event is. */
    readonly onEvent: (streamId: string) => void,
  ) {}

  storeEvent(streamId: string, message: JSONRPCMessage): Promise<string> {
    this.#last += 1
    this.onEvent(streamId)
    // The SDK opens a stream with an event that has no data, only to give it an id.
    if ('jsonrpc' in message) this.#keep(this.#last, { streamId, json: JSON.stringify(message) })
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

  #keep(number: number, event: Event): void {
    const { stdioEventsMax, stdioEventBytesMax } = this.limits
    // One that is too large alone must not drive out all the others.
    if (event.json.length > stdioEventBytesMax) return
    this.#events.set(number, event)
    this.#bytes += event.json.length
    for (const [oldest, { json }] of this.#events) {
      if (this.#events.size <= stdioEventsMax && this.#bytes <= stdioEventBytesMax) return
      this.#events.delete(oldest)
      this.#bytes -= json.length
    }
  }
}

/** The stream that an event is of, if the id is one of ours. */
export const streamOf = (eventId: string): string | undefined => /^\d+-(.+)$/.exec(eventId)?.[1]
