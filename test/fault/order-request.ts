import type { Connection, CutCause } from '../../src/registry.ts'
import { type ClientOwner, type FakeCall, FakeClient, type Got, isComment } from './order-client.ts'
import { lastWordsOf, type ModelSecret, type ModelServer, type ModelToken } from './order-model.ts'

/** What one client asks for, and how its server answers. */
export interface Ask {
  method: 'GET' | 'POST'
  rest: string
  /** `read`: JSON-RPC of known length, awaited; `flowing`: JSON-RPC without a length; `large`: too long to be read. */
  body: 'none' | 'read' | 'flowing' | 'large' | 'bytes'
  answer: 'events' | 'announcing' | 'encoded' | 'octets' | 'whole' | 'session' | 'accepted'
}

export const ASKS = {
  events: { method: 'GET', rest: '/sse', body: 'none', answer: 'events' },
  announcing: { method: 'GET', rest: '/old', body: 'none', answer: 'announcing' },
  encoded: { method: 'GET', rest: '/zip', body: 'none', answer: 'encoded' },
  octets: { method: 'GET', rest: '/file', body: 'none', answer: 'octets' },
  call: { method: 'POST', rest: '/mcp', body: 'read', answer: 'events' },
  flowingCall: { method: 'POST', rest: '/mcp', body: 'flowing', answer: 'events' },
  largeCall: { method: 'POST', rest: '/mcp', body: 'large', answer: 'events' },
  wholeCall: { method: 'POST', rest: '/mcp', body: 'read', answer: 'whole' },
  upload: { method: 'POST', rest: '/put', body: 'bytes', answer: 'octets' },
  open: { method: 'POST', rest: '/mcp', body: 'read', answer: 'session' },
  /** In a session that one of the others opened. */
  inSession: { method: 'POST', rest: '/mcp', body: 'read', answer: 'events' },
  /** To an endpoint that a stream announced. */
  message: { method: 'POST', rest: '', body: 'read', answer: 'accepted' },
} as const satisfies Record<string, Ask>
export type AskName = keyof typeof ASKS

/** Bodies that are longer flow by unread. */
export const READ_BYTES_MAX = 200
/** Events that are longer flow on before they end. */
export const TAIL_BYTES_MAX = 90
const EVENTS = 12

/** What a request must know of the world that it is in. */
export interface RequestWorld {
  readonly wallMs: number
  causeOf(request: OrderRequest): CutCause | null
  wrong(what: string): void
}

const encoder = new TextEncoder()

/** One request and its answer: what is said on both sides, what got through, and whether that was right. */
export class OrderRequest implements ClientOwner {
  readonly ask: Ask
  readonly abort = new AbortController()
  /** Of its JSON-RPC requests. */
  readonly ids: number[]
  readonly body: Uint8Array
  /** How much of its body the client has sent. */
  sent = 0
  bodyOver = false
  #feed: ReadableStreamDefaultController<Uint8Array> | null = null

  response: Response | null = null
  call: FakeCall | null = null
  client: FakeClient | null = null
  connection: Connection | null = null
  /** A whole answer was taken on by the gate while it might pass. */
  leftInOrder = false
  /** It was killed, alone or with its server, or its server was closed, whatever else is true of its token. */
  cutFor: CutCause | null = null
  /** The client closed its connection. */
  gone = false
  /** The process that held it has died. */
  lost = false
  /** A timer of the gate, or the upstream, had reason to end it. */
  failed = false
  endedAs: 'end' | 'reset' | null = null

  /** All that the upstream will say, as the client is to get it, and where its events end. */
  readonly says: Uint8Array
  readonly upstreamSays: Uint8Array
  readonly #ends = new Set<number>([0])
  /** Where the answer to an id ends. */
  readonly #answers = new Map<number, number>()
  upstreamSaid = 0
  #passed = 0
  #late: Uint8Array[] = []
  /** Ids that wait for an answer on this stream; false: perhaps. */
  readonly waiting = new Map<number, boolean>()
  /** The stream of HTTP+SSE that will answer it. */
  readonly stream: OrderRequest | null
  /** That stream had announced its endpoint when this arrived. */
  readonly toldOf: boolean

  constructor(
    readonly number: number,
    readonly name: AskName,
    readonly token: ModelToken,
    readonly secret: ModelSecret,
    readonly server: ModelServer,
    readonly world: RequestWorld,
    /** The stream that it belongs to, or the session. */
    readonly belongs: { stream?: OrderRequest | undefined; session?: string | undefined },
  ) {
    this.ask = ASKS[name]
    this.stream = belongs.stream ?? null
    this.toldOf = this.stream?.announces ?? false
    const isRpc = this.ask.body !== 'none' && this.ask.body !== 'bytes'
    this.ids = isRpc ? [number * 10, number * 10 + 1].slice(0, 1 + (number % 2)) : []
    this.body = encoder.encode(isRpc ? this.#rpcText() : this.ask.body === 'bytes' ? 'b'.repeat(300) : '')
    const { text, before } = this.#transcript()
    this.says = encoder.encode(text)
    this.upstreamSays = encoder.encode(before)
  }

  #rpcText(): string {
    const pad = this.ask.body === 'large' ? 'x'.repeat(READ_BYTES_MAX) : ''
    const messages = this.ids.map((id) => ({
      jsonrpc: '2.0',
      id,
      method: 'tools/list',
      ...(pad && { params: { pad } }),
    }))
    return JSON.stringify(messages.length === 1 ? messages[0] : messages)
  }

  #transcript(): { text: string; before: string } {
    if (this.ask.answer === 'whole' || this.ask.answer === 'session') {
      const text = JSON.stringify({ jsonrpc: '2.0', id: this.ids[0], result: {} })
      return { text, before: text }
    }
    const events: string[] = []
    const unanswered = [...this.ids]
    let length = 0
    for (let at = 0; at < EVENTS; at += 1) {
      const id = at % 3 === 2 ? unanswered.shift() : undefined
      // Every fourth is longer than what is held back.
      const pad = 'p'.repeat(at % 4 === 3 ? TAIL_BYTES_MAX + 20 : at * 2)
      const event = id === undefined ? `id: ${at}\ndata: {"n":${this.number},"pad":"${pad}"}\n\n` : answer(id)
      events.push(event)
      length += event.length
      if (id !== undefined) this.#answers.set(id, length)
    }
    const plain = events.join('')
    const announces = this.ask.answer === 'announcing'
    const led = announces ? `event: endpoint\ndata: ${this.led}\n\n` : ''
    let end = led.length
    if (announces) this.#ends.add(end)
    for (const event of events) this.#ends.add((end += event.length))
    return { text: led + plain, before: announces ? `event: endpoint\ndata: ${this.endpoint}\n\n${plain}` : plain }
  }

  /** Where its client's messages go, when it announces one. */
  get endpoint(): string {
    return `/message?of=${this.number}`
  }

  /** The same, led through the gate. */
  get led(): string {
    return `/s/${this.server.name}${this.server.away ? '/~' : ''}${this.endpoint}`
  }

  get target(): string {
    return this.stream ? this.stream.led : `/s/${this.server.name}${this.ask.rest}`
  }

  /** It has announced its endpoint, and is there to answer. */
  get announces(): boolean {
    return !this.over && this.#passed > 0
  }

  /** On whose stream its answers are awaited. */
  get hearer(): OrderRequest {
    return this.stream?.announces ? this.stream : this
  }

  get saidFarewell(): boolean {
    return this.#late.length > 0
  }

  /** Whether nothing is to be expected of it any more. */
  get over(): boolean {
    return this.lost || this.gone || this.endedAs !== null || (this.response !== null && this.client === null)
  }

  toRequest(): Request {
    const { method, body } = this.ask
    const headers: Record<string, string> = {
      host: 'localhost',
      authorization: `Bearer ${this.secret.text}`,
      'x-number': String(this.number),
    }
    if (body === 'none') headers['accept'] = 'text/event-stream'
    else if (body === 'flowing') headers['transfer-encoding'] = 'chunked'
    else headers['content-length'] = String(this.body.length)
    if (body !== 'none') headers['content-type'] = body === 'bytes' ? 'application/octet-stream' : 'application/json'
    if (this.belongs.session) headers['mcp-session-id'] = this.belongs.session
    const init: RequestInit & { duplex?: 'half' } = { method, headers, signal: this.abort.signal }
    if (body !== 'none') {
      init.duplex = 'half'
      init.body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          this.#feed = controller
        },
      })
    }
    return new Request(`http://localhost${this.target}`, init)
  }

  // The client

  /** Sends a part of the body; all of it with `bytes` of null. */
  upload(bytes: number | null): void {
    if (!this.#feed || this.bodyOver || this.gone) return
    const end = bytes === null ? this.body.length : Math.min(this.body.length, this.sent + bytes)
    const part = this.body.subarray(this.sent, end)
    this.sent = end
    this.bodyOver = bytes === null
    try {
      if (part.length > 0) this.#feed.enqueue(part)
      if (bytes === null) this.#feed.close()
    } catch {
      // The gate has let go of the body: nobody reads what the client sends.
      this.bodyOver = true
    }
  }

  goAway(): void {
    if (this.gone) return
    this.gone = true
    if (this.#feed && !this.bodyOver) this.#feed.error(new Error('the client went away'))
    this.bodyOver = true
    this.abort.abort()
    this.client?.goAway()
  }

  answered(response: Response): void {
    if (this.response) this.world.wrong(`${this.about} was answered twice`)
    this.response = response
    if (this.lost || this.gone || !response.body || !response.headers.has('x-flows')) return
    this.client = new FakeClient(response.body, this)
  }

  get about(): string {
    return `request ${this.number} (${this.name} of ${this.token.name} at ${this.server.name})`
  }

  wrong(what: string): void {
    if (!this.lost) this.world.wrong(`${this.about}: ${what}`)
  }

  got(bytes: Uint8Array): Got {
    if (this.lost) return 'own'
    if (this.world.causeOf(this) !== null) {
      this.#late.push(bytes)
      return 'last words'
    }
    const onBoundary = this.#ends.has(this.#passed)
    if (isComment(bytes)) {
      if (!onBoundary) this.wrong('a comment within an event')
      return 'comment'
    }
    const expected = this.says.subarray(this.#passed, this.#passed + bytes.length)
    if (!Buffer.from(bytes).equals(expected)) {
      this.wrong(`got ${JSON.stringify(Buffer.from(bytes).toString())} in place of what was said`)
    }
    this.#passed += bytes.length
    for (const id of this.waiting.keys())
      if ((this.#answers.get(id) ?? Infinity) <= this.#passed) this.waiting.delete(id)
    return 'own'
  }

  ended(how: 'end' | 'reset'): void {
    this.endedAs = how
    if (this.lost) return
    const late = Buffer.concat(this.#late).toString()
    const did = how === 'end' ? late : `${late}reset`
    const cause = this.world.causeOf(this)
    if (cause !== null) {
      const words = this.#lastWords(cause)
      if (!words.includes(did)) this.wrong(`ended with ${JSON.stringify(did)} in place of ${JSON.stringify(words)}`)
    } else if (late !== '') this.wrong(`${JSON.stringify(late)} was said to a dead stream`)
    else if (how === 'reset' && !this.failed && !this.stalls) this.wrong('was reset for no reason')
    else if (how === 'end' && !(this.call?.ended && this.#passed === this.#due)) {
      this.wrong(`ended after ${this.#passed} of ${this.#due} bytes for no reason`)
    }
  }

  /** Its body is not over: the client may be too slow with it. */
  get stalls(): boolean {
    return this.ask.body !== 'none' && !this.bodyOver
  }

  /** How much of what the upstream said is to reach the client in the end. */
  get #due(): number {
    return this.upstreamSaid === 0 ? 0 : this.upstreamSaid + this.says.length - this.upstreamSays.length
  }

  /** What may be said last: where a write or a failure is just being told, one of several. */
  #lastWords(cause: CutCause): string[] {
    const { answer: kind, body } = this.ask
    const certain = [...this.waiting].filter(([, sure]) => sure).map(([id]) => id)
    const stream = {
      events: kind === 'events' || kind === 'announcing',
      unsent: this.client?.unsent ?? false,
      unread: body === 'large',
      isRpc: body === 'read' || body === 'flowing',
      onBoundary: this.#ends.has(this.#passed),
    }
    const words = [certain, [...this.waiting.keys()]].map((waiting) => lastWordsOf({ ...stream, waiting }, cause))
    return this.client?.justTaken ? [...words, 'reset'] : words
  }
}

const answer = (id: number): string => `data: {"jsonrpc":"2.0","id":${id},"result":{}}\n\n`
