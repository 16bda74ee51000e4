import { eventually } from '../support/poll.ts'
import type { Child } from './child.ts'
import { getBytes, type ReverseProxy } from './reverse-proxy.ts'
import type { Delays, Opening } from './stream-client.ts'

/** Streams through a proxy from an origin to a client, each in a process of its own. */
export class LiveStreams {
  #open = 0

  constructor(
    readonly origin: Child,
    readonly client: Child,
  ) {}

  /** So many more; all have had their first event. */
  async open(proxy: ReverseProxy, streams: number): Promise<void> {
    const opening = { port: proxy.port, request: getBytes(proxy, '/events'), streams } satisfies Opening
    await this.client.call('open', opening)
    this.#open += streams
    await this.#settled()
  }

  beat(perSecond: number): Promise<number> {
    return this.origin.call<number>('beat', perSecond)
  }

  /** How long the events of the next so many milliseconds take. */
  record(ms: number): Promise<Delays> {
    return this.client.call<Delays>('record', ms)
  }

  /** Once all that was sent has come: a proxy that loses events does not work. */
  async close(): Promise<void> {
    const sent = await this.beat(0)
    const whole = () => this.client.call<number>('arrived').then((arrived) => arrived === sent)
    await eventually(whole, { timeoutMs: 20_000, everyMs: 20, what: `all ${sent} events have come` })
    await this.client.call('close')
    this.#open = 0
    await this.#settled()
  }

  #settled(): Promise<unknown> {
    const settled = () => this.origin.call<number>('open').then((open) => open === this.#open)
    return eventually(settled, { timeoutMs: 20_000, everyMs: 20, what: `the origin has ${this.#open} streams` })
  }
}
