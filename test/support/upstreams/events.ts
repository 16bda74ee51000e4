import { type RawUpstreamRequest, startRaw } from './raw.ts'

export type EventsOptions = {
  /** Sends an event on every stream this often; without it only `send` and `broadcast` do. */
  intervalMs?: number
  /** Events sent at once when a stream opens. */
  burst?: number
  /** The `retry:` field, first thing on every stream. */
  retryMs?: number
  /** Ends each stream in good order after so many events. */
  endAfter?: number
  headers?: string[]
}

/** One open stream of server-sent events. */
export class EventStream {
  readonly openedAt = performance.now()
  readonly lastEventId: string | null
  sent = 0
  private number: number

  constructor(readonly request: RawUpstreamRequest) {
    this.lastEventId = request.head.get('last-event-id')
    this.number = Number(this.lastEventId ?? 0)
  }

  get open(): boolean {
    return this.request.closedAt === null && !this.request.answered
  }
  /** When the other side let go of it (performance.now()). */
  get cancelledAt(): number | null {
    return this.request.closedAt
  }
  /** Exactly this text, one chunk on the wire. */
  send(text: string | Uint8Array): boolean {
    return this.open && this.request.chunk(text)
  }
  /** The next numbered event. */
  next(): void {
    this.number += 1
    this.sent += 1
    this.send(`id: ${this.number}\ndata: {"n":${this.number}}\n\n`)
  }
  end(): void {
    this.request.lastChunk()
  }
}

/** Server-sent events on every path; it knows what is open and when each was cancelled. */
export const startEvents = async (options: EventsOptions = {}) => {
  const { burst = 0, endAfter = Infinity, headers = ['Content-Type: text/event-stream'] } = options
  const streams: EventStream[] = []
  const advance = (stream: EventStream) => {
    if (!stream.open) return
    stream.next()
    if (stream.sent >= endAfter) stream.end()
  }
  const upstream = await startRaw((request) => {
    request.begin('200 OK', headers)
    const stream = new EventStream(request)
    streams.push(stream)
    if (options.retryMs !== undefined) stream.send(`retry: ${options.retryMs}\n\n`)
    for (let count = 0; count < burst; count += 1) advance(stream)
  })
  const timer = options.intervalMs ? setInterval(() => streams.forEach(advance), options.intervalMs) : undefined
  return {
    ...upstream,
    streams,
    open: () => streams.filter((stream) => stream.open).length,
    broadcast: (text: string) => streams.forEach((stream) => stream.send(text)),
    stop: () => {
      clearInterval(timer)
      upstream.stop()
    },
  }
}
