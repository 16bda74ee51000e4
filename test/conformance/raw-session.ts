import { parseEvents, type SseEvent } from '../support/sse.ts'
import type { Door, Params } from './talker.ts'

export type Rpc = { jsonrpc?: '2.0'; id?: unknown; method?: string; params?: Params; result?: Params; error?: Params }

const ACCEPT = { Accept: 'application/json, text/event-stream' }
const JSON_TYPE = { 'Content-Type': 'application/json' }
const initialize = (protocolVersion: string): Rpc => ({
  id: 0,
  method: 'initialize',
  params: { protocolVersion, capabilities: { sampling: {} }, clientInfo: { name: 'raw', version: '1.0.0' } },
})
const written = (message: Rpc): Rpc => ({ jsonrpc: '2.0', ...message })

/** An answer that is read as it comes. */
export class Reading {
  readonly status: number
  readonly headers: Headers
  #text = ''
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  readonly #decoder = new TextDecoder()

  constructor(response: Response) {
    this.status = response.status
    this.headers = response.headers
    this.#reader = response.body?.getReader()
  }

  get events(): SseEvent[] {
    return parseEvents(this.#text)
  }
  get messages(): Rpc[] {
    return this.events.map(({ data }) => JSON.parse(data) as Rpc)
  }
  /** Until it holds what is wanted, or ends. */
  async until(holds: (reading: this) => boolean): Promise<this> {
    while (!holds(this)) {
      const { value, done = true } = (await this.#reader?.read()) ?? {}
      if (done) break
      this.#text += this.#decoder.decode(value, { stream: true })
    }
    return this
  }
  async all(): Promise<string> {
    await this.until(() => false)
    return this.#text
  }
  /** What was answered to that id, over SSE or as JSON. */
  async answerTo(id: unknown): Promise<Rpc> {
    const isIt = (message: Rpc) => message.id === id && message.method === undefined
    if (this.headers.get('content-type')?.startsWith('text/event-stream'))
      await this.until(({ messages }) => messages.some(isIt))
    else await this.all()
    const isStream = this.headers.get('content-type')?.startsWith('text/event-stream')
    const found = (isStream ? this.messages : ([JSON.parse(this.#text)].flat() as Rpc[])).find(isIt)
    if (!found) throw new Error(`${this.status}, and no answer to ${JSON.stringify(id)}: ${this.#text.slice(-500)}`)
    return found
  }
  drop(): Promise<void> {
    return this.#reader?.cancel() ?? Promise.resolve()
  }
}

export const send = async ({ url, headers }: Door, method: string, more: Record<string, string>, body?: string) =>
  new Reading(await fetch(url, { method, headers: { ...headers, ...more }, ...(body !== undefined && { body }) }))

/** Posts what may be no message at all. */
export const post = (door: Door, body: string, more: Record<string, string> = {}): Promise<Reading> =>
  send(door, 'POST', { ...ACCEPT, ...JSON_TYPE, ...more }, body)

/** A session of streamable HTTP, message by message. */
export const rawSession = async (door: Door, revision = '2025-11-25') => {
  const opened = await post(door, JSON.stringify(written(initialize(revision))))
  const { result } = await opened.answerTo(0)
  const session = opened.headers.get('mcp-session-id')
  if (session === null || !result) throw new Error(`no session: ${opened.status} ${JSON.stringify(result)}`)
  const mine = { 'Mcp-Session-Id': session, 'Mcp-Protocol-Version': String(result['protocolVersion']) }
  const say = (message: Rpc | Rpc[], more: Record<string, string> = {}) =>
    post(door, JSON.stringify(Array.isArray(message) ? message.map(written) : written(message)), { ...mine, ...more })
  const initialized = await say({ method: 'notifications/initialized' })
  if (initialized.status !== 202) throw new Error(`notifications/initialized was answered ${initialized.status}`)
  return {
    session,
    result,
    headers: mine,
    say,
    call: (id: unknown, name: string, args: Params = {}, _meta?: Params) =>
      say({ id, method: 'tools/call', params: { name, arguments: args, ...(_meta && { _meta }) } }),
    listen: (more: Record<string, string> = {}) => send(door, 'GET', { Accept: 'text/event-stream', ...mine, ...more }),
    end: () => send(door, 'DELETE', mine),
  }
}
