import {
  isInitializeRequest,
  isJSONRPCRequest,
  type JSONRPCMessage,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server'
import { messageOf } from '../../error.ts'
import type { Limits } from '../../limits.ts'
import { ProblemError, problems } from '../problem.ts'
import type { RpcId } from '../rpc.ts'
import { cancelledError, exitError, exitProblem, isOver, tooManyCalls, undeliveredError } from './answer.ts'
import { SessionEvents, streamOf } from './events.ts'
import { Later } from './later.ts'
import type { Link } from './link.ts'
import { Outbox, Unread } from './outbox.ts'
import { type AnswerStream, type Place, Relations } from './relations.ts'
import type { Rooms } from './room.ts'

/** 128 bits that nobody guesses. */
export const newSessionId = (): string => Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('base64url')

/** The answer to one POST, and what the SDK calls its stream once an event of it is known. */
interface Answering extends AnswerStream {
  streamId: string | null
}

/** A session of streamable HTTP (2025-03-26 to 2025-11-25), bound message by message to a server's line. */
export class StreamableSession {
  readonly id = newSessionId()
  readonly #events: SessionEvents
  readonly #relations: Relations
  readonly #unread: Unread
  readonly #later: Later
  readonly #transport: WebStandardStreamableHTTPServerTransport
  /** One step after the other: no message overtakes another, or the stream that it belongs to. */
  #line: Promise<unknown> = Promise.resolve()
  /** By the ids of the calls that they answer. */
  readonly #answerings = new Map<RpcId, Answering>()
  /** Whose event is stored in the step at hand; null: one of the GET's stream. */
  #current: Answering | null = null
  /** What the SDK calls the GET's stream. */
  #standaloneId: string | null = null
  #initializeId: RpcId | null = null
  readonly #begun = Promise.withResolvers<boolean>()
  #closed = false

  constructor(
    readonly link: Link,
    readonly limits: Limits,
    rooms: Rooms,
    readonly onClosed: () => void,
  ) {
    this.#events = new SessionEvents(limits, rooms.events, (streamId) => this.#name(streamId))
    this.#relations = new Relations(limits)
    this.#unread = new Unread(link, limits, rooms.unread)
    this.#later = new Later(limits)
    this.#transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => this.id,
      eventStore: this.#events,
      retryInterval: limits.stdioRetryMs,
      // The gate keeps streams alive itself.
      keepAliveMs: 0,
    })
    this.#transport.onmessage = (message, extra) => this.#fromClient(message, extra?.request)
    this.#transport.onclose = () => this.close()
    // Who waits for the beginning hears of its failure; often nobody does any more.
    this.#begun.promise.catch(() => undefined)
    link.onmessage = (message) => this.#soon(() => this.#fromServer(message))
    void link.ended.then(({ detail }) => this.#soon(() => this.#died(detail)))
  }

  /**
   * The first POST, answered when the server has answered. Unless that took the client in, the session is over. Throws
   * `ProblemError`, or what the request was aborted with.
   */
  async initialize(request: Request, body: unknown): Promise<Response> {
    const fail = (reason: unknown) => this.#begun.reject(reason)
    const late = setTimeout(() => fail(new ProblemError(problems.serverStartTimeout)), this.limits.stdioStartMs)
    const abort = () => fail(request.signal.reason)
    request.signal.addEventListener('abort', abort)
    let response: Response | null = null
    try {
      // Cut while its process was started: then nothing is written to it.
      request.signal.throwIfAborted()
      await this.link.start()
      response = await this.handle(request, body)
      if (response.ok && (await this.#begun.promise)) return response
      this.close()
      response.headers.delete('mcp-session-id')
      return response
    } catch (error) {
      this.close()
      await response?.body?.cancel()
      throw error
    } finally {
      clearTimeout(late)
      request.signal.removeEventListener('abort', abort)
    }
  }

  /** Any request; `body` is the JSON of a POST. Throws `ProblemError`. */
  async handle(request: Request, body?: unknown): Promise<Response> {
    const most = this.limits.rpcIdsMax
    if (this.#relations.waiting.length >= most && [body].flat().some((message) => isJSONRPCRequest(message)))
      throw new ProblemError(tooManyCalls(most))
    const done = this.link.use()
    try {
      return await this.#inTurn(() => this.#answer(request, body, done))
    } catch (error) {
      done()
      throw error
    }
  }

  /** Ends it, and with it what it speaks to. What was said already can still be read. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#begun.reject(new ProblemError(problems.serverExited))
    this.link.stop()
    void this.#transport.close()
    this.#events.clear()
    this.onClosed()
  }

  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const turn = this.#line.then(step)
    // A step that fails tells whoever asked for it; the next one comes all the same.
    this.#line = turn.catch(() => undefined)
    return turn
  }

  /** A step that nobody waits for: when it fails one message is lost, and nothing else. */
  #soon(step: () => Promise<void>): void {
    this.#inTurn(step).catch(() => undefined)
  }

  async #answer(request: Request, body: unknown, done: () => void): Promise<Response> {
    const isGet = request.method === 'GET'
    const answering = isGet ? this.#resumed(request.headers.get('last-event-id')) : { open: true, streamId: null }
    this.#current = answering
    const response = await this.#transport.handleRequest(request, body === undefined ? {} : { parsedBody: body })
    const { ok, status, headers } = response
    if (!ok || !response.body) {
      done()
      await this.#forget()
      return response
    }
    const show = (open: boolean) => {
      if (answering) answering.open = open
      else this.#relations.standalone = open
    }
    show(true)
    const outbox = new Outbox(this.#unread, () => {
      done()
      show(false)
      this.#soon(() => this.#forget())
      // Who left before it could learn the session's id can't use it, nor end it.
      if (!outbox.read && [body].flat().some((message) => isInitializeRequest(message))) this.close()
    })
    void outbox.follow(response.body)
    for (const message of this.#later.take()) await this.#fromServer(message)
    return new Response(outbox.body, { status, headers })
  }

  /** The stream that a GET takes up again; null: the GET's own. */
  #resumed(lastEventId: string | null): Answering | null {
    if (lastEventId === null) return null
    const streamId = streamOf(lastEventId) ?? ''
    if (streamId === this.#standaloneId) return null
    // One that is answered in full is only read once more.
    const known = [...this.#answerings.values()].find((answering) => answering.streamId === streamId)
    return known ?? { open: true, streamId }
  }

  #name(streamId: string): void {
    if (this.#current) this.#current.streamId = streamId
    else this.#standaloneId = streamId
  }

  #fromClient(message: JSONRPCMessage, request: Request | undefined): void {
    // Cut since it came: not a byte of it goes on. A process of its own is muted, a shared one is not.
    if (request?.signal.aborted) return
    const answering = this.#current ?? { open: false, streamId: null }
    this.#relations.fromClient(message, answering)
    if (isJSONRPCRequest(message)) {
      this.#answerings.set(message.id, answering)
      if (isInitializeRequest(message)) this.#initializeId = message.id
    }
    this.link.send(message).catch((error: unknown) => this.#soon(() => this.#undelivered(message, error)))
  }

  async #undelivered(message: JSONRPCMessage, error: unknown): Promise<void> {
    if (!isJSONRPCRequest(message) || isOver(error)) return
    await this.#fromServer(undeliveredError(message.id, messageOf(error)))
  }

  /** The SDK keeps a call until it is answered, and servers answer none that was cancelled: done unheard. */
  async #forget(): Promise<void> {
    for (const id of this.#closed ? [] : this.#relations.forgotten) await this.#say(cancelledError(id), { call: id })
  }

  async #fromServer(message: JSONRPCMessage): Promise<void> {
    const place = this.#closed ? null : this.#relations.place(message)
    if (place === 'later') this.#later.add(message)
    else if (place !== null) await this.#say(message, place)
  }

  async #say(message: JSONRPCMessage, place: Exclude<Place, 'later'>): Promise<void> {
    const call = place === 'standalone' ? undefined : place.call
    this.#current = call === undefined ? null : (this.#answerings.get(call) ?? null)
    const answered = 'method' in message ? undefined : call
    if (answered !== undefined) {
      this.#relations.answered(answered)
      this.#answerings.delete(answered)
    }
    await this.#transport.send(message, call === undefined ? {} : { relatedRequestId: call })
    if (answered !== undefined && answered === this.#initializeId) this.#begun.resolve('result' in message)
  }

  async #died(detail: string): Promise<void> {
    if (this.#closed) return
    this.#begun.reject(new ProblemError(exitProblem(detail)))
    for (const id of this.#relations.waiting) this.#soon(() => this.#say(exitError(id, detail), { call: id }))
    this.#soon(async () => this.close())
  }
}
