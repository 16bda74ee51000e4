import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  hkdfSync,
  sign,
  verify,
} from 'node:crypto'
import { AppError } from './error.ts'

/** One entry of the key file. Everything that needs a key derives its own from `secret` (HKDF, RFC 5869). */
export interface RingKey {
  id: string
  createdAt: number
  secret: Uint8Array
}

/** What the key file holds. The last key is the current one. */
export interface KeyRingData {
  /** The database that these keys belong to. */
  database: string
  keys: RingKey[]
}

interface Derived {
  id: string
  /** Keyed, and never updated: copying it takes half as long as keying another. */
  hmac: Bun.CryptoHasher
  cipher: Uint8Array
  signing: ReturnType<typeof createPrivateKey>
  publicKey: Uint8Array
}

// RFC 8410: the DER that stands before 32 raw bytes of an Ed25519 private or public key.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex')

const derive = (key: RingKey): Derived => {
  const part = (label: string) => new Uint8Array(hkdfSync('sha256', key.secret, '', `portcullis ${label}`, 32))
  const signing = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, part('sign')]),
    format: 'der',
    type: 'pkcs8',
  })
  const publicKey = createPublicKey(signing).export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length)
  return { id: key.id, hmac: new Bun.CryptoHasher('sha256', part('hmac')), cipher: part('encrypt'), signing, publicKey }
}

const digestOf = ({ hmac }: Derived, secret: string): Buffer => hmac.copy().update(secret).digest()

/** The keys of a node: digests of secrets, encryption of upstream credentials, signatures of checkpoints. */
export class KeyRing {
  #keys: Derived[]

  constructor(readonly data: KeyRingData) {
    if (data.keys.length === 0) throw new AppError('invalid', 'the key file holds no key')
    this.#keys = data.keys.map(derive)
  }

  get current(): string {
    return this.#current.id
  }

  get ids(): string[] {
    return this.data.keys.map((key) => key.id)
  }

  get #current(): Derived {
    return this.#keys.at(-1) as Derived
  }

  #key(id: string): Derived {
    const key = this.#keys.find((candidate) => candidate.id === id)
    if (!key)
      throw new AppError(
        'invalid',
        `--key-file: it has no key "${id}", which this database uses; put the right one back from your backup`,
        'key-file',
      )
    return key
  }

  /** Takes new contents, once they are safely in the key file. */
  replace(keys: RingKey[]): void {
    this.data.keys = keys
    this.#keys = keys.map(derive)
  }

  /** HMAC-SHA256 of a secret under the current key, base64. */
  digest(secret: string): { keyId: string; digest: string } {
    return { keyId: this.current, digest: digestOf(this.#current, secret).toString('base64') }
  }

  /** What `find` finds by a digest that a secret may be stored under, the current key's first; null: nothing by any. */
  findBy<T>(secret: string, find: (digest: Uint8Array) => T | null): T | null {
    for (let index = this.#keys.length - 1; index >= 0; index--) {
      const found = find(digestOf(this.#keys[index] as Derived, secret))
      if (found !== null) return found
    }
    return null
  }

  /** AES-256-GCM with a random nonce, bound to what it is for; `keyId.nonce.tag.text`, base64. By the current key. */
  encrypt(plain: string, purpose: string, keyId = this.current): string {
    const nonce = crypto.getRandomValues(new Uint8Array(12))
    const cipher = createCipheriv('aes-256-gcm', this.#key(keyId).cipher, nonce).setAAD(Buffer.from(purpose))
    const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()])
    return [keyId, ...[nonce, cipher.getAuthTag(), text].map((part) => Buffer.from(part).toString('base64'))].join('.')
  }

  /** Throws `invalid` when the key is gone or the text was altered. */
  decrypt(sealed: string, purpose: string): string {
    const [keyId = '', nonce = '', tag = '', text = ''] = sealed.split('.')
    const key = this.#key(keyId)
    try {
      const decipher = createDecipheriv('aes-256-gcm', key.cipher, Buffer.from(nonce, 'base64'))
      decipher.setAAD(Buffer.from(purpose)).setAuthTag(Buffer.from(tag, 'base64'))
      return decipher.update(Buffer.from(text, 'base64'), undefined, 'utf8') + decipher.final('utf8')
    } catch (cause) {
      throw new AppError('invalid', `an encrypted value of ${purpose} was altered`, 'invalid', { cause })
    }
  }

  /** An Ed25519 signature (RFC 8032) by the current key. */
  sign(text: string): { keyId: string; publicKey: string; signature: string } {
    const { id, signing, publicKey } = this.#current
    return {
      keyId: id,
      publicKey: Buffer.from(publicKey).toString('base64'),
      signature: sign(null, Buffer.from(text), signing).toString('base64'),
    }
  }

  /** The public key of that id, base64, or null when the ring no longer has it. */
  publicKey(id: string): string | null {
    const key = this.#keys.find((candidate) => candidate.id === id)
    return key ? Buffer.from(key.publicKey).toString('base64') : null
  }
}

/** Whether an Ed25519 signature holds; all three texts are base64 but the first. */
export const signatureHolds = (text: string, publicKey: string, signature: string): boolean => {
  try {
    const key = createPublicKey({
      key: Buffer.concat([SPKI_PREFIX, Buffer.from(publicKey, 'base64')]),
      format: 'der',
      type: 'spki',
    })
    return verify(null, Buffer.from(text), key, Buffer.from(signature, 'base64'))
  } catch {
    // A key or a signature that can't even be read holds for nothing.
    return false
  }
}

/** The key that an encrypted text was sealed under. */
export const sealedUnder = (sealed: string): string => sealed.slice(0, sealed.indexOf('.'))

/** A new entry for the ring. */
export const newRingKey = (now: number): RingKey => ({
  id: `k${Buffer.from(crypto.getRandomValues(new Uint8Array(5))).toString('hex')}`,
  createdAt: now,
  secret: crypto.getRandomValues(new Uint8Array(32)),
})
