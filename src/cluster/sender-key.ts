import { randomBytes } from 'node:crypto'
import { limits } from '../limits.ts'
import { keysFrom, openFrame, sealFrame } from './seal.ts'
import type { Refusal } from './transport.ts'

/**
 * What goes to all is sealed once, under a key of the sender's own. Each peer is told it over the session of the two, so
 * whoever is not linked can neither read nor write it; it is made anew with each start, and whenever a peer goes.
 */

const ID_BYTES = 8
const SECRET_BYTES = 32
const COUNT_BYTES = 8

const keysOf = (secret: Uint8Array) => {
  const [digests, facts] = keysFrom(secret, Buffer.alloc(0), 'broadcast', 2) as [Buffer, Buffer]
  return { digests, facts }
}

export class SenderKey {
  /** Says which key a frame is for, and proves nothing. */
  readonly #id = randomBytes(ID_BYTES)
  readonly #secret = randomBytes(SECRET_BYTES)
  readonly #keys = keysOf(this.#secret)
  readonly #sent = { digests: 0, facts: 0 }

  /** For a peer: the key, and from where on it holds. What was said before must not be said to it again. */
  told(): Buffer {
    const counts = Buffer.alloc(2 * COUNT_BYTES)
    counts.writeBigUInt64BE(BigInt(this.#sent.digests))
    counts.writeBigUInt64BE(BigInt(this.#sent.facts), COUNT_BYTES)
    return Buffer.concat([this.#id, this.#secret, counts])
  }

  /** Throws `too_large`. */
  seal(what: 'digests' | 'facts', plain: Uint8Array): Buffer {
    this.#sent[what] += 1
    return Buffer.concat([this.#id, sealFrame(this.#keys[what], this.#sent[what], plain)])
  }
}

/** Another node's sender key. Facts come by two roads, each in its order: as they are sent, and as they were stored. */
export class HeardKey {
  readonly #id: Buffer
  readonly #keys: ReturnType<typeof keysOf>
  readonly #after: Record<'digests' | 'facts' | 'stored', number>
  /** Facts that were sent and did not come; of what is stored the others came already. */
  readonly #missed = new Set<number>()
  /** What was stored may come a moment sooner than what is sent. */
  readonly #early = new Set<number>()

  private constructor(told: Buffer) {
    this.#id = told.subarray(0, ID_BYTES)
    this.#keys = keysOf(told.subarray(ID_BYTES, ID_BYTES + SECRET_BYTES))
    const counts = told.subarray(ID_BYTES + SECRET_BYTES)
    const facts = Number(counts.readBigUInt64BE(COUNT_BYTES))
    this.#after = { digests: Number(counts.readBigUInt64BE()), facts, stored: facts }
  }

  static of(told: Uint8Array): HeardKey | Refusal {
    if (told.length !== ID_BYTES + SECRET_BYTES + 2 * COUNT_BYTES) return 'malformed'
    return new HeardKey(Buffer.from(told))
  }

  /** null: it came already, or was sealed under another key, of before a start or of after a change not told yet. */
  open(what: 'digests' | 'facts' | 'stored', bytes: Uint8Array): Buffer | Refusal | null {
    if (!this.#id.equals(bytes.subarray(0, ID_BYTES))) return null
    const frame = bytes.subarray(ID_BYTES)
    const key = what === 'digests' ? this.#keys.digests : this.#keys.facts
    const opened = openFrame(key, this.#after[what], frame)
    if (typeof opened === 'string') return opened
    const { sequence, plain } = opened
    const isNew = what === 'digests' || (what === 'facts' ? this.#sent(sequence) : this.#stored(sequence))
    this.#after[what] = sequence
    return isNew ? plain : null
  }

  #sent(sequence: number): boolean {
    for (let before = this.#after.facts + 1; before < sequence; before += 1) {
      // More than so many at once are found by digests.
      if (this.#missed.size >= limits.natsMissedMax) break
      if (!this.#early.delete(before)) this.#missed.add(before)
    }
    return !this.#early.delete(sequence)
  }

  #stored(sequence: number): boolean {
    if (sequence <= this.#after.facts) return this.#missed.delete(sequence)
    if (this.#early.size >= limits.natsMissedMax) return false
    this.#early.add(sequence)
    return true
  }
}
