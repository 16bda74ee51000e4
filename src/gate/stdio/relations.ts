import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import type { Limits } from '../../limits.ts'
import { isId, isRecord, type RpcId } from '../rpc.ts'

/** The answer to one POST: its client may leave it, and take it up again. */
export interface AnswerStream {
  open: boolean
}

/** Where a message of the server goes: beside a call of the client's, to the stream of its GET, or nowhere yet. */
export type Place = { call: RpcId } | 'standalone' | 'later'

interface Call {
  stream: AnswerStream
  progressToken: RpcId | null
  cancelled: boolean
}

export const paramsOf = (message: JSONRPCMessage): Record<string, unknown> =>
  'params' in message && isRecord(message.params) ? message.params : {}

const progressTokenOf = (message: JSONRPCMessage): RpcId | null => {
  const { _meta } = paramsOf(message)
  return isRecord(_meta) && isId(_meta.progressToken) ? _meta.progressToken : null
}

/**
 * What belongs to what in a session: on stdio everything comes on one line, over HTTP a message belongs to the
 * stream of the call that it is about. Progress and cancellations say so; of the others it is the likeliest.
 */
export class Relations {
  /** Unanswered, the oldest first. */
  readonly #calls = new Map<RpcId, Call>()
  readonly #byProgress = new Map<RpcId, RpcId>()
  /** Where requests of the server's went that are unanswered. */
  readonly #asked = new Map<RpcId, Place>()
  /** The stream of the client's GET is open. */
  standalone = false

  constructor(readonly limits: Limits) {}

  /** Those of the client's requests that it still waits for. */
  get waiting(): RpcId[] {
    return [...this.#calls].filter(([, { cancelled }]) => !cancelled).map(([id]) => id)
  }

  /** A message of the client's, which arrived by the POST that this stream answers. */
  fromClient(message: JSONRPCMessage, stream: AnswerStream): void {
    if ('method' in message && 'id' in message) {
      const progressToken = progressTokenOf(message)
      this.#calls.set(message.id, { stream, progressToken, cancelled: false })
      if (progressToken !== null) this.#byProgress.set(progressToken, message.id)
    } else if ('method' in message) {
      const { requestId } = paramsOf(message)
      const call = message.method === 'notifications/cancelled' && isId(requestId) && this.#calls.get(requestId)
      // It may be answered all the same: the two may have crossed.
      if (call) call.cancelled = true
    } else if (message.id !== undefined) {
      this.#asked.delete(message.id)
    }
  }

  /** Where a message of the server's goes now; null: it answers what nobody asked. */
  place(message: JSONRPCMessage): Place | null {
    if (!('method' in message)) {
      return message.id !== undefined && this.#calls.has(message.id) ? { call: message.id } : null
    }
    if ('id' in message) {
      const place = this.#beside()
      this.#remember(message.id, place)
      return place
    }
    const { progressToken, requestId } = paramsOf(message)
    switch (message.method) {
      case 'notifications/progress':
        return this.#call(isId(progressToken) ? this.#byProgress.get(progressToken) : undefined) ?? this.#apart()
      case 'notifications/cancelled':
        return this.#whereAsked(requestId) ?? this.#apart()
      case 'notifications/message':
        return this.#beside()
      default:
        return this.#apart()
    }
  }

  /** Those that were cancelled, and whose stream nobody reads. */
  get forgotten(): RpcId[] {
    return [...this.#calls].filter(([, { stream, cancelled }]) => cancelled && !stream.open).map(([id]) => id)
  }

  /** A call has its answer. */
  answered(id: RpcId): void {
    const call = this.#calls.get(id)
    this.#calls.delete(id)
    // A client may have used the token again.
    if (call && call.progressToken !== null && this.#byProgress.get(call.progressToken) === id)
      this.#byProgress.delete(call.progressToken)
  }

  #call(id: RpcId | undefined): Place | null {
    return id !== undefined && this.#calls.has(id) ? { call: id } : null
  }

  #whereAsked(id: unknown): Place | null {
    const place = isId(id) ? this.#asked.get(id) : undefined
    if (!isId(id) || place === undefined) return null
    this.#asked.delete(id)
    if (place === 'standalone') return this.standalone ? place : null
    return place !== 'later' && this.#calls.get(place.call)?.stream.open ? place : null
  }

  #remember(id: RpcId, place: Place): void {
    this.#asked.delete(id)
    if (String(id).length > this.limits.rpcIdLengthMax) return
    const oldest = this.#asked.keys().next()
    if (this.#asked.size >= this.limits.rpcIdsMax && !oldest.done) this.#asked.delete(oldest.value)
    this.#asked.set(id, place)
  }

  #heard(): RpcId[] {
    return [...this.#calls].filter(([, { stream, cancelled }]) => stream.open && !cancelled).map(([id]) => id)
  }

  /** Of what most likely is about a call: the one under way; of several nobody can tell which. */
  #beside(): Place {
    const heard = this.#heard()
    const [only] = heard
    return only !== undefined && heard.length === 1 ? { call: only } : this.#apart(heard)
  }

  /** Of what is about no call. */
  #apart(heard = this.#heard()): Place {
    if (this.standalone) return 'standalone'
    const newest = heard.at(-1)
    return newest === undefined ? 'later' : { call: newest }
  }
}
