import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { type TypeCheck, TypeCompiler } from '@sinclair/typebox/compiler'
import { limits } from '../limits.ts'
import type { Membership, Message } from './message.ts'
import type { Refusal } from './transport.ts'

/** A message as bytes: one byte for the form of the rest, then JSON. Later forms may be other than JSON. */
const JSON_FORM = 1

const LENGTH = limits.memberTextLengthMax
/** Numbers of facts, versions and questions. */
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
/** They become keys of objects: none may be one that every object has. */
const Id = Type.String({ pattern: '^(?!__proto__$|constructor$|prototype$)[0-9A-Za-z_-]{1,64}$' })
const Text = Type.String({ maxLength: LENGTH })

const FactIds = Type.Array(
  Type.Object({ origin: Id, stream: Type.Union([Type.Literal('revocation'), Type.Literal('change')]), seq: Count }),
)
const Facts = Type.Array(
  Type.Object({
    origin: Id,
    stream: Type.Union([Type.Literal('revocation'), Type.Literal('change')]),
    seq: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
    kind: Type.String({ pattern: '^[a-z0-9_.-]{1,64}$' }),
    // It is compared as text: any other length would win or lose for ever.
    hlc: Type.String({ pattern: '^[0-9a-z]{9}-[0-9a-z]{4}$' }),
    payload: Type.String(),
  }),
)
const Vector = Type.Record(Id, Type.Tuple([Count, Count]), { additionalProperties: false })

const Known = Type.Object({ vector: Vector, unknown: FactIds })

const Member = Type.Object({ id: Id, name: Text, url: Text, key: Type.String({ maxLength: 64 }) })
const Members = Type.Array(Member, { maxItems: limits.membersMax })
const Membership = Type.Object({
  version: Count,
  ballot: Text,
  floor: Known,
  members: Members,
  policy: Type.Union([Type.Literal('lease'), Type.Literal('serve')]),
  auto: Type.Boolean(),
  leaseMs: Type.Integer({ minimum: limits.leaseMsMin, maximum: limits.leaseMsMax }),
  void: Members,
  off: Type.Array(Id, { maxItems: limits.membersMax }),
  heir: Type.Union([Member, Type.Null()]),
  secret: Text,
  actor: Text,
  change: Text,
})
const Former = Type.Object({
  ids: Type.Array(Id, { maxItems: limits.membersMax }),
  retired: Type.Boolean(),
  member: Member,
})
const View = Type.Array(Type.Tuple([Count, Text]), { maxItems: limits.membershipsMax })

const of = <K extends string, T extends Record<string, TSchema>>(t: K, fields: T) =>
  Type.Object({ t: Type.Literal(t), ...fields })

const SCHEMAS = [
  of('digest', {
    ask: Count,
    vector: Vector,
    unknown: FactIds,
    view: View,
    version: Text,
    synced: Type.Boolean(),
    former: Type.Union([Former, Type.Null()]),
  }),
  of('answer', { ask: Count, granted: Type.Boolean(), known: Known }),
  of('facts', { facts: Facts, pulled: Type.Boolean(), more: Type.Boolean() }),
  of('pull', { vector: Vector, bytesMax: Count }),
  of('ack', {
    acks: Type.Array(Type.Object({ origin: Id, seq: Count, cut: Count })),
    vector: Vector,
    unknown: FactIds,
    view: View,
  }),
  of('relay', { record: Type.Record(Type.String(), Type.Unknown()), issuedUntil: Type.Number() }),
  of('prepare', { version: Count, ballot: Text }),
  of('promise', {
    version: Count,
    ballot: Text,
    ok: Type.Boolean(),
    known: Known,
    accepted: Type.Union([Type.Object({ ballot: Text, membership: Membership }), Type.Null()]),
  }),
  of('accept', { ballot: Text, membership: Membership }),
  of('accepted', { version: Count, ballot: Text, ok: Type.Boolean() }),
  of('view', { memberships: Type.Array(Membership, { maxItems: limits.membershipsMax }) }),
  of('which', {}),
  of('chosen', { membership: Membership }),
] as const

/** Every message has a schema, and every schema is that of a message: the compiler says so here. */
type Described = Static<(typeof SCHEMAS)[number]>
const isMessage = (value: Described): Message => value satisfies Message
type Missing = Exclude<Message['t'], Described['t']>
const NONE_MISSING: Missing extends never ? true : Missing = true

const CHECKS: ReadonlyMap<unknown, TypeCheck<(typeof SCHEMAS)[number]>> = new Map(
  NONE_MISSING ? SCHEMAS.map((schema) => [schema.properties.t.const, TypeCompiler.Compile(schema)]) : [],
)
const MEMBERSHIP = TypeCompiler.Compile(Membership)
const MEMBER = TypeCompiler.Compile(Member)

/** For what comes by other roads than messages: the answer to a joiner. */
export const isMembership = (value: unknown): value is Membership => MEMBERSHIP.Check(value)
export const isMember = (value: unknown): value is Static<typeof Member> => MEMBER.Check(value)

export const encodeMessage = (message: Message): Buffer => {
  const text = JSON.stringify(message)
  // Three bytes at most for each unit of UTF-16.
  const bytes = Buffer.allocUnsafe(1 + Buffer.byteLength(text))
  bytes[0] = JSON_FORM
  bytes.write(text, 1)
  return bytes
}

/** null: a message that only newer nodes know, which is passed over. */
export const decodeMessage = (bytes: Uint8Array): Message | null | Refusal => {
  if (bytes[0] !== JSON_FORM) return 'wrong_version'
  const value = jsonOf(Buffer.from(bytes.buffer, bytes.byteOffset + 1, bytes.byteLength - 1).toString())
  if (typeof value !== 'object' || value === null || !('t' in value) || typeof value.t !== 'string') return 'malformed'
  const check = CHECKS.get(value.t)
  if (!check) return null
  return check.Check(value) ? isMessage(value) : 'malformed'
}

/** undefined: it is no JSON. */
export const jsonOf = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
