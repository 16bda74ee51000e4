import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto'
import { AppError } from '../error.ts'
import { limits } from '../limits.ts'
import type { Refusal } from './transport.ts'

/** What frames look like from here on; both sides of a link choose the highest that both know. */
export const FRAME_VERSION = 1

const HEAD_BYTES = 9
const TAG_BYTES = 16
/** What sealing adds to a message. */
export const SEAL_BYTES = HEAD_BYTES + TAG_BYTES

const nonceOf = (sequence: number): Buffer => {
  const nonce = Buffer.alloc(12)
  nonce.writeBigUInt64BE(BigInt(sequence), 4)
  return nonce
}

/**
 * One byte of version, eight of sequence, AES-256-GCM of the rest, which vouches for all of it. A key must never see the
 * same sequence twice.
 */
export const sealFrame = (key: Uint8Array, sequence: number, plain: Uint8Array): Buffer => {
  if (plain.length + SEAL_BYTES > limits.clusterFrameBytesMax) throw new AppError('too_large', 'a frame is too large')
  const head = Buffer.alloc(HEAD_BYTES)
  head[0] = FRAME_VERSION
  head.writeBigUInt64BE(BigInt(sequence), 1)
  const cipher = createCipheriv('aes-256-gcm', key, nonceOf(sequence)).setAAD(head)
  return Buffer.concat([head, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

/** What a frame holds, if its sequence is above `after` and it was sealed under the key. */
export const openFrame = (
  key: Uint8Array,
  after: number,
  frame: Uint8Array,
): { sequence: number; plain: Buffer } | Refusal => {
  if (frame.length > limits.clusterFrameBytesMax) return 'too_large'
  if (frame.length > 0 && frame[0] !== FRAME_VERSION) return 'wrong_version'
  if (frame.length < SEAL_BYTES) return 'truncated'
  const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength)
  const sequence = bytes.readBigUInt64BE(1)
  if (sequence > Number.MAX_SAFE_INTEGER) return 'malformed'
  if (sequence <= after) return 'replayed'
  const decipher = createDecipheriv('aes-256-gcm', key, nonceOf(Number(sequence)), { authTagLength: TAG_BYTES })
  decipher.setAAD(bytes.subarray(0, HEAD_BYTES)).setAuthTag(bytes.subarray(-TAG_BYTES))
  try {
    const plain = decipher.update(bytes.subarray(HEAD_BYTES, -TAG_BYTES))
    return { sequence: Number(sequence), plain: Buffer.concat([plain, decipher.final()]) }
  } catch {
    // Another key, or a bit that was turned: the two can't be told apart.
    return 'wrong_key'
  }
}

/** A key of its own for each use of a secret (HKDF, RFC 5869). */
export const keysFrom = (secret: Uint8Array, salt: Uint8Array, label: string, count: number): Buffer[] => {
  const bytes = Buffer.from(hkdfSync('sha256', secret, salt, `portcullis ${label}`, 32 * count))
  return Array.from({ length: count }, (_, index) => bytes.subarray(32 * index, 32 * (index + 1)))
}

export const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest()

/** What tells a secret from others without telling anything of it. */
export const fingerprintOf = (secret: Uint8Array, label: string): string =>
  createHmac('sha256', secret).update(`portcullis ${label}`).digest().subarray(0, 12).toString('base64url')

/** Two keys that two nodes share, one for each way. Frames may get lost on the way, but none comes twice or goes back. */
export class Session {
  #sent = 0
  #received = 0

  constructor(
    readonly sendKey: Uint8Array,
    readonly receiveKey: Uint8Array,
  ) {}

  /** Throws `too_large`. */
  seal(plain: Uint8Array): Buffer {
    return sealFrame(this.sendKey, ++this.#sent, plain)
  }

  open(frame: Uint8Array): Buffer | Refusal {
    const opened = openFrame(this.receiveKey, this.#received, frame)
    if (typeof opened === 'string') return opened
    this.#received = opened.sequence
    return opened.plain
  }
}
