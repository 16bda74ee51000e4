import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { REASONS } from '../../revocation-record.ts'
import { ROLES } from '../../operator.ts'

/** The JSON of the API, in one place: what is validated, what is answered, what OpenAPI says. */

const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const Time = Type.String({ description: 'RFC 3339, UTC', examples: ['2026-11-21T10:00:00.000Z'] })
const Page = <T extends TSchema>(item: T) => Type.Object({ items: Type.Array(item), next: Nullable(Type.String()) })
const OneOf = <T extends readonly string[]>(values: T) =>
  Type.Unsafe<T[number]>(Type.Union(values.map((value) => Type.Literal(value))))

export const PageQuery = Type.Object({
  limit: Type.Optional(Type.String({ description: 'how many at the most' })),
  after: Type.Optional(Type.String({ description: "the last page's `next`" })),
})

// Servers
export const KINDS = ['auto', 'mcp', 'http'] as const
const Headers = Type.Record(Type.String(), Type.String(), {
  description: 'sent upstream in place of what the client sent; values are answered as "***"',
})
export const ServerCreate = Type.Object(
  {
    name: Type.String(),
    url: Type.String(),
    kind: Type.Optional(OneOf(KINDS)),
    path: Type.Optional(Type.String()),
    headers: Type.Optional(Headers),
    probe: Type.Optional(Type.Boolean({ description: 'false: do not look whether it answers' })),
  },
  { additionalProperties: false },
)
export const ServerPatch = Type.Object(
  {
    url: Type.Optional(Type.String()),
    kind: Type.Optional(OneOf(KINDS)),
    path: Type.Optional(Type.String()),
    headers: Type.Optional(Headers),
  },
  { additionalProperties: false },
)
const Mcp = Type.Object({
  name: Nullable(Type.String()),
  version: Nullable(Type.String()),
  revision: Type.String({ description: 'of the specification', examples: ['2026-07-28'] }),
  transport: OneOf(['http', 'sse'] as const),
  tools: Nullable(Type.Integer({ description: 'how many; null: it has none, or would not list them all' })),
})
export const Probe = Type.Object({
  reachable: Type.Boolean(),
  found: OneOf(['mcp', 'sse', 'http', 'nothing'] as const),
  path: Type.String(),
  detail: Type.String(),
  mcp: Nullable(Mcp),
})
const Health = Type.Object({
  reachable: Nullable(Type.Boolean({ description: 'null: not looked at since the start, or the change' })),
  lookedAt: Nullable(Time),
  detail: Nullable(Type.String()),
  mcp: Nullable(Mcp),
  requests: Type.Integer({ description: 'through the gate in the last hour' }),
  errors: Type.Integer({ description: 'of those, failures of the server: unreachable, broken off, 500 or above' }),
  errorRate: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
})
export const Server = Type.Object({
  id: Type.String(),
  name: Type.String(),
  url: Type.String(),
  kind: OneOf(KINDS),
  path: Type.String(),
  headers: Headers,
  state: OneOf(['open', 'closed'] as const),
  reason: Nullable(Type.String()),
  connections: Type.Integer(),
  health: Health,
  publicUrl: Type.String(),
  createdAt: Time,
})
export const ServerCreated = Type.Composite([Server, Type.Object({ probe: Nullable(Probe) })])
export const ServerPage = Page(Server)

export const GatePut = Type.Object(
  { state: OneOf(['open', 'closed'] as const), reason: Type.Optional(Type.String()) },
  { additionalProperties: false },
)
export const Cut = Type.Object({
  cut: Type.Integer(),
  lastCutMs: Nullable(Type.Number()),
  durable: Type.Boolean({ description: 'false: in force, but not in the database yet (507)' }),
})
export const GateState = Type.Composite([
  Type.Object({ state: OneOf(['open', 'closed'] as const), reason: Nullable(Type.String()) }),
  Cut,
])

// Tokens
const Patterns = Type.Array(Type.String(), { description: 'names of tools; * stands for any characters, ? for one' })
/** What is left out restricts nothing. */
export const PolicyPut = Type.Object(
  {
    allow: Type.Optional(Nullable(Patterns)),
    deny: Type.Optional(Patterns),
    readOnly: Type.Optional(Type.Boolean({ description: 'only tools that are annotated with readOnlyHint' })),
    callsPerMinute: Type.Optional(Nullable(Type.Integer())),
    concurrentStreams: Type.Optional(Nullable(Type.Integer())),
  },
  { additionalProperties: false },
)
export const Policy = Type.Object({
  allow: Nullable(Patterns),
  deny: Patterns,
  readOnly: Type.Boolean(),
  callsPerMinute: Nullable(Type.Integer()),
  concurrentStreams: Nullable(Type.Integer()),
})
export const TokenCreate = Type.Object(
  {
    name: Type.String(),
    servers: Type.Array(Type.String(), { description: 'names of servers' }),
    subject: Type.Optional(Nullable(Type.String())),
    group: Type.Optional(Nullable(Type.String())),
    expires: Type.Optional(Nullable(Type.String({ description: '30d, or 2026-12-31' }))),
    expiresAt: Type.Optional(Nullable(Time)),
    policy: Type.Optional(Nullable(PolicyPut)),
  },
  { additionalProperties: false },
)
export const Token = Type.Object({
  id: Type.String(),
  name: Type.String(),
  servers: Type.Array(Type.String()),
  subject: Nullable(Type.String()),
  group: Nullable(Type.String()),
  status: OneOf(['active', 'expired', 'revoked'] as const),
  createdAt: Time,
  createdBy: Type.String(),
  expiresAt: Nullable(Time),
  oldSecretDiesAt: Nullable(Time),
  policy: Nullable(Policy),
  revokedAt: Nullable(Time),
  revocationId: Nullable(Type.String({ description: 'its receipt: /revocations/{id}' })),
  lastUsedAt: Nullable(Time),
  client: Nullable(Type.String()),
  connections: Type.Integer(),
  requests: Type.Integer({ description: 'in the last 30 days' }),
  refusals: Type.Integer(),
  bytesIn: Type.Integer(),
  bytesOut: Type.Integer(),
  deadTries: Type.Object({
    count: Type.Integer(),
    lastAt: Nullable(Time),
    addresses: Type.Array(Type.Object({ address: Type.String(), count: Type.Integer(), firstAt: Time, lastAt: Time })),
  }),
  urls: Type.Record(Type.String(), Type.String()),
})
export const Snippet = Type.Object({
  title: Type.String(),
  kind: OneOf(['command', 'file', 'code'] as const),
  file: Nullable(Type.String({ description: 'where to put it' })),
  language: OneOf(['sh', 'json', 'toml', 'yaml', 'python', 'javascript'] as const),
  text: Type.String(),
  note: Nullable(Type.String()),
  links: Type.Array(Type.Object({ server: Type.String(), url: Type.String() }), {
    description: 'install links, without any secret',
  }),
})
export const Connect = Type.Record(Type.String(), Snippet, { description: 'what to paste into a client, by its id' })
/** `token` is the secret, and `connect` holds it: here, once (both null when an Idempotency-Key answers again). */
export const TokenIssued = Type.Composite([
  Token,
  Type.Object({ token: Nullable(Type.String()), connect: Nullable(Connect) }),
])
export const TokenPage = Page(Token)
export const RotationCreate = Type.Object(
  { graceSeconds: Type.Optional(Type.Integer({ minimum: 0 })) },
  { additionalProperties: false },
)

export const UsageQuery = Type.Object({
  window: Type.Optional(
    Type.String({
      description: 'hour: 60 of a minute; day (what is taken): 96 of 15 minutes; month: 30 of a day, UTC',
    }),
  ),
})
export const UsageHistory = Type.Object({
  window: OneOf(['hour', 'day', 'month'] as const),
  bucketMs: Type.Integer(),
  items: Type.Array(
    Type.Object({
      at: Time,
      requests: Type.Integer(),
      refusals: Type.Integer(),
      bytesIn: Type.Integer(),
      bytesOut: Type.Integer(),
    }),
    { description: 'evenly spaced, the oldest first; the last one still runs' },
  ),
})

const CallCounts = {
  calls: Type.Integer(),
  errors: Type.Integer({ description: 'answered by an error of JSON-RPC, of the tool, or of HTTP' }),
  refused: Type.Integer({ description: "refused by the token's policy; not in calls" }),
  argumentBytes: Type.Integer(),
}
const CallTimes = { firstAt: Time, lastAt: Time }
const Called = { ...CallCounts, ...CallTimes }
export const Activity = Type.Object({
  token: Type.Object({
    id: Type.String(),
    name: Type.String(),
    subject: Nullable(Type.String()),
    status: OneOf(['active', 'expired', 'revoked'] as const),
  }),
  since: Time,
  until: Time,
  ...CallCounts,
  tools: Type.Array(Type.Object({ server: Type.String(), name: Type.String(), ...Called })),
  methods: Type.Array(Type.Object({ server: Type.String(), method: Type.String(), ...Called })),
  addresses: Type.Array(Type.Object({ address: Type.String(), ...Called })),
  clients: Type.Array(Type.Object({ client: Type.String(), ...Called })),
  truncated: Type.Boolean({ description: 'a list had more entries than are shown; CSV has all' }),
})

// Revocations
export const RevocationCreate = Type.Object(
  {
    tokens: Type.Optional(Type.Array(Type.String(), { description: 'ids or names, joined by OR' })),
    subject: Type.Optional(Nullable(Type.String())),
    group: Type.Optional(Nullable(Type.String())),
    server: Type.Optional(Nullable(Type.String())),
    issuedBefore: Type.Optional(Nullable(Type.String())),
    all: Type.Optional(Type.Boolean()),
    reason: OneOf(REASONS),
    note: Type.Optional(Type.String()),
    dryRun: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
)
export const Revocation = Type.Object({
  id: Type.String(),
  at: Time,
  actor: Type.String(),
  reason: OneOf(REASONS),
  note: Type.String(),
  dryRun: Type.Boolean(),
  selector: Type.Record(Type.String(), Type.Unknown()),
  tokens: Type.Array(Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) })),
  connections: Type.Object({ cut: Type.Integer() }),
  timings: Type.Object({
    commitMs: Nullable(Type.Number()),
    deniedMs: Nullable(Type.Number({ description: 'no request passes from here on' })),
    firstCutMs: Nullable(Type.Number()),
    lastCutMs: Nullable(Type.Number()),
    upstreamCancelledMs: Nullable(
      Type.Number({ description: 'the last request to a server was cancelled; null: not yet, ask for the receipt' }),
    ),
  }),
  durable: Type.Boolean(),
  complete: Type.Boolean(),
  peers: Type.Array(
    Type.Object({ node: Type.String(), state: Type.String(), ms: Nullable(Type.Number()), cut: Type.Integer() }),
  ),
})
export const RevocationPage = Page(Revocation)
export const ReceiptConnection = Type.Object({
  n: Type.Integer({ description: 'the order of the cut, from 1' }),
  kind: OneOf(['sse', 'stream', 'request', 'session'] as const),
  server: Type.String(),
  token: Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) }),
  client: Nullable(Type.String()),
  address: Type.String(),
  startedAt: Time,
  endedAt: Time,
  ageMs: Type.Number(),
  bytesIn: Type.Integer(),
  bytesOut: Type.Integer(),
})
export const ReceiptConnectionPage = Page(ReceiptConnection)

// Connections
export const Connection = Type.Object({
  id: Type.String(),
  kind: OneOf(['sse', 'stream', 'request', 'session'] as const),
  server: Type.String(),
  token: Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) }),
  client: Nullable(Type.String()),
  address: Type.String(),
  method: Type.String(),
  path: Type.String(),
  startedAt: Time,
  ageMs: Type.Number(),
  bytesIn: Type.Integer(),
  bytesOut: Type.Integer(),
})
export const ConnectionPage = Page(Connection)

// Audit
export const AuditRow = Type.Object({
  sequence: Type.Integer(),
  time: Time,
  node: Type.String(),
  actor: Type.String(),
  action: Type.String(),
  targetId: Nullable(Type.String()),
  targetName: Nullable(Type.String()),
  reason: Nullable(Type.String()),
  details: Type.Record(Type.String(), Type.Unknown()),
  previousHash: Type.String(),
  hash: Type.String(),
})
export const AuditPage = Page(AuditRow)
const AuditFilter = Type.Object({
  actor: Type.Optional(Type.String()),
  action: Type.Optional(Type.String({ description: 'such as token.revoke, or token. for all of a noun' })),
  target: Type.Optional(Type.String({ description: 'an id, or a part of a name' })),
  since: Type.Optional(Type.String({ description: 'RFC 3339, a date (its beginning, UTC), or how long ago: 24h' })),
  until: Type.Optional(Type.String({ description: 'before that time; a date means its end, UTC' })),
})
export const AuditQuery = Type.Composite([
  PageQuery,
  AuditFilter,
  Type.Object({ order: Type.Optional(OneOf(['asc', 'desc'] as const)) }),
])
export const AuditExportQuery = Type.Composite([
  AuditFilter,
  Type.Object({ format: Type.Optional(OneOf(['jsonl', 'csv'] as const)) }),
])
export const Verification = Type.Object({
  status: OneOf(['intact', 'altered', 'truncated', 'forked'] as const),
  ok: Type.Boolean(),
  rows: Type.Integer(),
  sequence: Nullable(Type.Integer({ description: 'the first row that does not hold' })),
  message: Type.String(),
  checkedAt: Time,
  tookMs: Type.Number(),
})
export const Checkpoint = Type.Object({
  database: Type.String(),
  node: Type.String(),
  sequence: Type.Integer(),
  hash: Type.String(),
  at: Time,
  keyId: Type.String(),
  publicKey: Type.String({ description: 'Ed25519, raw, base64' }),
  signature: Type.String({ description: 'Ed25519, base64, over the canonical JSON of the other fields' }),
})

// API keys, operators, keys of the ring
export const ApiKeyCreate = Type.Object(
  {
    name: Type.String(),
    role: OneOf(['operator', 'auditor'] as const),
    expires: Type.Optional(Nullable(Type.String())),
    expiresAt: Type.Optional(Nullable(Time)),
  },
  { additionalProperties: false },
)
export const ApiKey = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: OneOf(['operator', 'auditor'] as const),
  createdAt: Time,
  createdBy: Type.String(),
  expiresAt: Nullable(Time),
  lastUsedAt: Nullable(Time),
})
export const ApiKeyIssued = Type.Composite([ApiKey, Type.Object({ key: Nullable(Type.String()) })])
export const ApiKeyPage = Page(ApiKey)
export const OperatorCreate = Type.Object({ name: Type.String(), role: OneOf(ROLES) }, { additionalProperties: false })
export const Operator = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: OneOf(ROLES),
  createdAt: Time,
  lastSignInAt: Nullable(Time),
  ready: Type.Boolean({ description: 'has set a password' }),
})
export const OperatorPage = Page(Operator)
export const Session = Type.Object({
  id: Type.String(),
  operator: Type.String(),
  role: OneOf(ROLES),
  address: Type.String({ description: 'of its last request' }),
  openedFrom: Type.String({ description: 'the address that signed in' }),
  client: Nullable(Type.String({ description: 'what the browser that signed in calls itself' })),
  createdAt: Time,
  usedAt: Time,
  restricted: Type.Boolean({ description: 'signed in while the database could not be written' }),
  current: Type.Boolean({ description: 'the one that asks' }),
})
export const SessionPage = Page(Session)
export const Link = Type.Object({ url: Type.String(), expiresAt: Time })
export const OperatorCreated = Type.Composite([Operator, Type.Object({ link: Nullable(Link) })])
export const RingKey = Type.Object({
  id: Type.String(),
  current: Type.Boolean(),
  createdAt: Time,
  liveTokens: Type.Integer(),
})
export const RingKeyPage = Page(RingKey)
export const KeyRemoved = Type.Object({ id: Type.String(), revocation: Nullable(Revocation) })

// The node
export const Node = Type.Object({
  version: Type.String(),
  node: Type.String(),
  gateUrl: Type.String(),
  consoleUrl: Type.String(),
  dataFolder: Type.String(),
  startedAt: Time,
  gate: Type.Object({ state: OneOf(['open', 'closed'] as const), reason: Nullable(Type.String()) }),
  connections: Type.Integer(),
  ready: Type.Boolean(),
  problems: Type.Array(Type.String()),
  verification: Nullable(Verification),
})

export type ServerJson = Static<typeof Server>
export type TokenJson = Static<typeof Token>
export type ActivityJson = Static<typeof Activity>
export type PolicyJson = Static<typeof Policy>
export type TokenIssuedJson = Static<typeof TokenIssued>
export type SnippetJson = Static<typeof Snippet>
export type ConnectJson = Static<typeof Connect>
export type RevocationJson = Static<typeof Revocation>
export type ReceiptConnectionJson = Static<typeof ReceiptConnection>
export type ConnectionJson = Static<typeof Connection>
export type AuditRowJson = Static<typeof AuditRow>
export type VerificationJson = Static<typeof Verification>
export type CheckpointJson = Static<typeof Checkpoint>
export type ApiKeyJson = Static<typeof ApiKey>
export type OperatorJson = Static<typeof Operator>
export type SessionJson = Static<typeof Session>
export type UsageHistoryJson = Static<typeof UsageHistory>
export type RingKeyJson = Static<typeof RingKey>
export type NodeJson = Static<typeof Node>
