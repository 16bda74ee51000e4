import {
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'
import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { limits } from '../limits.ts'
import { jsonOf } from './frame.ts'
import type { Membership } from './message.ts'
import { FRAME_VERSION, fingerprintOf, keysFrom, Session, sha256 } from './seal.ts'
import type { Refusal } from './transport.ts'

/**
 * Two nodes prove to each other who they are, and end with keys that nobody else can have. Each shows that it has the
 * private key that its public one in the membership belongs to, and a secret of the cluster; what was recorded can't be
 * opened with either later. In the terms of the Noise framework it is KKpsk0 without the static-static exchange, over
 * X25519, HKDF-SHA256 and AES-256-GCM.
 *
 * hello: who dials whom, with a new key. welcome: who answers, with a new key, and the proof of having all keys.
 * proof: that of the one who dialled. Texts, so that they pass over anything that carries texts.
 */

/** What a node says of itself before it is believed. */
export interface Claim {
  id: string
  /** Public X25519 key, base64. */
  key: string
  url: string
  /** Members that its folder was before it was restored or copied. */
  formerly: readonly string[]
  /** Of the secret that proves it: an older one may have been taken along by a member that was removed since. */
  version: number
}

/** Whom this node trusts, asked anew for each handshake. */
export interface Trust {
  cluster(): string
  self(): { id: string; url: string; formerly: readonly string[] }
  /** 32 bytes; the public one stands in the membership. */
  readonly privateKey: Uint8Array
  /** All that it knows, the newest first; with the membership's version from which on each holds. */
  secrets(): readonly { version: number; secret: Uint8Array }[]
  /** Whether to link to who is no member, but has proved the cluster's secret and the key that it claims. */
  former(claim: Claim): boolean
  /** The membership that removed a node, or any later one; null: it was none of us. */
  removed(id: string): Membership | null
}

/** The public key of a member, base64; null: it is none. */
export type KeyOf = (id: string) => string | null

export interface Established {
  peer: string
  session: Session
  /** All of it proved, but `url` and `formerly`, which are its word. */
  claim: Claim
  /** It is no member, and was let in as one that was. */
  former: boolean
  /** It was removed, and does not know: to be told, and then let go. */
  removal: Membership | null
}

// RFC 8410: the DER that stands before 32 raw bytes of an X25519 private or public key.
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex')
const SPKI_PREFIX = Buffer.from('302a300506032b656e032100', 'hex')

const privateKeyOf = (raw: Uint8Array): KeyObject =>
  createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, raw]), format: 'der', type: 'pkcs8' })

const rawOf = (key: KeyObject): string =>
  key.export({ format: 'der', type: 'spki' }).subarray(SPKI_PREFIX.length).toString('base64')

/** Base64, as it stands in the membership. Any 32 random bytes are a private key. */
export const publicKeyOf = (privateKey: Uint8Array): string => rawOf(createPublicKey(privateKeyOf(privateKey)))

/** null: it is no key, or one with which anybody would come to the same result. */
const agree = (own: KeyObject, theirs: string): Buffer | null => {
  try {
    const der = Buffer.concat([SPKI_PREFIX, Buffer.from(theirs, 'base64')])
    return diffieHellman({ privateKey: own, publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }) })
  } catch {
    // OpenSSL refuses what is no point, and points of low order.
    return null
  }
}

const Text = Type.String({ maxLength: limits.memberTextLengthMax })
const Key = Type.String({ pattern: '^[0-9A-Za-z+/]{43}=$' })
const Proof = Type.String({ pattern: '^[0-9A-Za-z_-]{43}$' })
const Id = Type.String({ pattern: '^[0-9A-Za-z_-]{1,64}$' })

const Party = Type.Object({
  id: Id,
  /** That of always, and that of this link. */
  key: Key,
  once: Key,
  url: Text,
  formerly: Type.Array(Id, { maxItems: limits.membersMax }),
})
const Hello = Type.Object({
  frames: Type.Array(Type.Integer(), { maxItems: 16 }),
  cluster: Id,
  to: Id,
  from: Party,
  secrets: Type.Array(Text, { maxItems: limits.clusterSecretsMax }),
})
const HELLO = TypeCompiler.Compile(Hello)
const WELCOME = TypeCompiler.Compile(Type.Object({ frames: Type.Integer(), from: Party, secret: Text, proof: Proof }))
const JOIN_HELLO = TypeCompiler.Compile(
  Type.Object({ frames: Type.Array(Type.Integer(), { maxItems: 16 }), ticket: Text, once: Key }),
)
const JOIN_WELCOME = TypeCompiler.Compile(Type.Object({ frames: Type.Integer(), once: Key, proof: Proof }))

const read = <T extends TSchema>(check: TypeCheck<T>, text: string): Static<T> | null => {
  if (text.length > limits.clusterHelloBytesMax) return null
  const value = jsonOf(text)
  return check.Check(value) ? value : null
}

interface Keys {
  fromDialler: Buffer
  fromAnswerer: Buffer
  /** What only who has all keys can say, one for each side. */
  diallerProof: string
  answererProof: string
}

const deriveKeys = (parts: readonly Uint8Array[], transcript: unknown, label: string): Keys => {
  // Every part has its fixed length: no two lists of parts become the same bytes.
  const [fromDialler, fromAnswerer, one, two] = keysFrom(
    Buffer.concat(parts),
    sha256(JSON.stringify(transcript)),
    label,
    4,
  ) as [Buffer, Buffer, Buffer, Buffer]
  return {
    fromDialler,
    fromAnswerer,
    diallerProof: one.toString('base64url'),
    answererProof: two.toString('base64url'),
  }
}

const proves = (given: string, expected: string): boolean => timingSafeEqual(Buffer.from(given), Buffer.from(expected))

const LINK = 'cluster link 1'

const partyOf = (trust: Trust, once: string): Static<typeof Party> => {
  const { id, url, formerly } = trust.self()
  return { id, key: publicKeyOf(trust.privateKey), once, url, formerly: formerly.slice(0, limits.membersMax) }
}

const fingerprint = (trust: Trust, secret: Uint8Array) => fingerprintOf(secret, `cluster secret of ${trust.cluster()}`)

/** Both sides hash what both said, field by field: whoever changes one on the way gets other keys. */
const transcriptOf = (hello: Static<typeof Hello>, answerer: Static<typeof Party>, frames: number, secret: string) => [
  hello.frames,
  hello.cluster,
  hello.to,
  fields(hello.from),
  hello.secrets,
  fields(answerer),
  frames,
  secret,
]

const fields = ({ id, key, once, url, formerly }: Static<typeof Party>) => [id, key, once, url, formerly]

/** Whether the other may be linked to, once it has proved what it claims. */
const admission = (
  trust: Trust,
  keyOf: KeyOf,
  { id, key, url, formerly }: Static<typeof Party>,
  version: number,
): Omit<Established, 'session'> | Refusal => {
  const claim = { id, key, url, formerly, version }
  if (keyOf(id) !== null) return { peer: id, claim, former: false, removal: null }
  if (formerly.length > 0 && trust.former(claim)) return { peer: id, claim, former: true, removal: null }
  const removal = trust.removed(id)
  return removal ? { peer: id, claim, former: false, removal } : 'not_a_member'
}

/**
 * Begins a link to `to`. A node that was restored may answer in its place, and says so. `frames`: what it speaks; a later
 * version speaks more.
 */
export const dial = (trust: Trust, keyOf: KeyOf, to: string, frames: number[] = [FRAME_VERSION]) => {
  const once = generateKeyPairSync('x25519')
  const hello: Static<typeof Hello> = {
    frames,
    cluster: trust.cluster(),
    to,
    from: partyOf(trust, rawOf(once.publicKey)),
    secrets: trust
      .secrets()
      .slice(0, limits.clusterSecretsMax)
      .map(({ secret }) => fingerprint(trust, secret)),
  }
  return {
    hello: JSON.stringify(hello),
    /** The answer's check; what to send then, and the link. */
    finish(text: string): (Established & { proof: string }) | Refusal {
      const welcome = read(WELCOME, text)
      if (!welcome) return 'malformed'
      if (welcome.frames !== FRAME_VERSION) return 'wrong_version'
      const { from } = welcome
      const stranger = from.id !== to && !from.formerly.includes(to)
      if (stranger || from.id === hello.from.id) return 'not_a_member'
      const known = keyOf(from.id)
      const secret = trust.secrets().find((candidate) => fingerprint(trust, candidate.secret) === welcome.secret)
      if ((known !== null && known !== from.key) || !secret) return 'wrong_key'
      const [both, theirs, mine] = [
        agree(once.privateKey, from.once),
        agree(once.privateKey, from.key),
        agree(privateKeyOf(trust.privateKey), from.once),
      ]
      if (!both || !theirs || !mine) return 'wrong_key'
      const keys = deriveKeys(
        [both, theirs, mine, secret.secret],
        transcriptOf(hello, from, welcome.frames, welcome.secret),
        LINK,
      )
      if (!proves(welcome.proof, keys.answererProof)) return 'wrong_key'
      const admitted = admission(trust, keyOf, from, secret.version)
      if (typeof admitted === 'string') return admitted
      // Who dials is not the one to tell: the other finds out from those that it dials.
      if (admitted.removal) return 'not_a_member'
      return {
        ...admitted,
        session: new Session(keys.fromDialler, keys.fromAnswerer),
        proof: keys.diallerProof,
      }
    },
  }
}

/** Answers a hello. Cheap checks come first: keys are made only for who knows a secret's fingerprint. */
export const accept = (trust: Trust, keyOf: KeyOf, text: string) => {
  const hello = read(HELLO, text)
  if (!hello) return 'malformed' as const
  if (!hello.frames.includes(FRAME_VERSION)) return 'wrong_version' as const
  const { from } = hello
  const self = trust.self()
  if (hello.cluster !== trust.cluster() || from.id === self.id) return 'not_a_member' as const
  if (hello.to !== self.id && !self.formerly.includes(hello.to)) return 'not_a_member' as const
  const known = keyOf(from.id)
  if (known === null && from.formerly.length === 0 && !trust.removed(from.id)) return 'not_a_member' as const
  const offered = new Set(hello.secrets)
  const secret = trust.secrets().find((candidate) => offered.has(fingerprint(trust, candidate.secret)))
  if ((known !== null && known !== from.key) || !secret) return 'wrong_key' as const
  const once = generateKeyPairSync('x25519')
  const party = partyOf(trust, rawOf(once.publicKey))
  const [both, mine, theirs] = [
    agree(once.privateKey, from.once),
    agree(privateKeyOf(trust.privateKey), from.once),
    agree(once.privateKey, from.key),
  ]
  if (!both || !mine || !theirs) return 'wrong_key' as const
  const print = fingerprint(trust, secret.secret)
  const keys = deriveKeys([both, mine, theirs, secret.secret], transcriptOf(hello, party, FRAME_VERSION, print), LINK)
  return {
    welcome: JSON.stringify({ frames: FRAME_VERSION, from: party, secret: print, proof: keys.answererProof }),
    /** The dialler's proof; then the link. */
    finish(proof: string): Established | Refusal {
      if (proof.length !== keys.diallerProof.length || !proves(proof, keys.diallerProof)) return 'wrong_key'
      const admitted = admission(trust, keyOf, from, secret.version)
      if (typeof admitted === 'string') return admitted
      return { ...admitted, session: new Session(keys.fromAnswerer, keys.fromDialler) }
    },
  }
}

const JOIN = 'cluster join 1'

/** A joiner's half: it knows nobody yet, and proves that it has the ticket; who answers proves the same. */
export const dialWithTicket = (ticket: { id: string; key: Uint8Array }) => {
  const once = generateKeyPairSync('x25519')
  const hello = { frames: [FRAME_VERSION], ticket: ticket.id, once: rawOf(once.publicKey) }
  return {
    hello: JSON.stringify(hello),
    finish(text: string): Session | Refusal {
      const welcome = read(JOIN_WELCOME, text)
      if (!welcome) return 'malformed'
      if (welcome.frames !== FRAME_VERSION) return 'wrong_version'
      const both = agree(once.privateKey, welcome.once)
      if (!both) return 'wrong_key'
      const keys = deriveKeys([both, ticket.key], [hello.frames, hello.ticket, hello.once, welcome.once], JOIN)
      if (!proves(welcome.proof, keys.answererProof)) return 'wrong_key'
      return new Session(keys.fromDialler, keys.fromAnswerer)
    },
  }
}

/** The other half. What the joiner seals under the session is its proof. */
export const acceptTicket = <T extends string>(text: string, keyOf: (ticket: string) => Uint8Array | T) => {
  const hello = read(JOIN_HELLO, text)
  if (!hello) return 'malformed' as const
  if (!hello.frames.includes(FRAME_VERSION)) return 'wrong_version' as const
  const key = keyOf(hello.ticket)
  if (typeof key === 'string') return key
  const once = generateKeyPairSync('x25519')
  const both = agree(once.privateKey, hello.once)
  if (!both) return 'wrong_key' as const
  const own = rawOf(once.publicKey)
  const keys = deriveKeys([both, key], [hello.frames, hello.ticket, hello.once, own], JOIN)
  return {
    ticket: hello.ticket,
    welcome: JSON.stringify({ frames: FRAME_VERSION, once: own, proof: keys.answererProof }),
    session: new Session(keys.fromAnswerer, keys.fromDialler),
  }
}
