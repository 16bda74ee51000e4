import { type Static, type TSchema, Type } from '@sinclair/typebox'
import { REASONS } from '../../revocation-record.ts'
import { ROLES } from '../../operator.ts'

/** The JSON of the API, in one place: what is validated, what is answered, what OpenAPI says. */

const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])
const Time = Type.String({ description: 'RFC 3339, UTC', examples: ['2026-11-21T10:00:00.000Z'] })
const Page = <T extends TSchema>(item: T) => Type.Object({ items: Type.Array(item), next: Nullable(Type.String()) })
const OneOf = <T extends readonly string[]>(values: T) =>
  Type.Unsafe<T[number]>(Type.Union(values.map((value) => Type.Literal(value))))
/** The same in answers, where it is to be described: OpenAPI drops what is said of a union. */
const Word = <T extends readonly string[]>(values: T, description: string) =>
  Type.Unsafe<T[number]>(Type.String({ enum: [...values], description }))

export const PageQuery = Type.Object({
  limit: Type.Optional(Type.String({ description: 'how many at the most' })),
  after: Type.Optional(Type.String({ description: "the last page's `next`" })),
})

// Servers
export const KINDS = ['auto', 'mcp', 'http'] as const
const Headers = Type.Record(Type.String(), Type.String(), {
  description: 'sent upstream in place of what the client sent; values are answered as "***"',
})
const Command = Type.Array(Type.String(), {
  description: 'the program and its arguments; no shell reads them',
  examples: [['npx', '-y', '@modelcontextprotocol/server-filesystem', '/srv/files']],
})
const Env = Type.Record(Type.String(), Type.String(), {
  description: 'added to PATH, HOME and LANG; values are answered as "***"',
})
const Allow = Type.Array(Type.String(), {
  description: 'absolute paths that the sandbox lets it write to; with :ro at the end, read',
})
const stdioOptions = {
  env: Type.Optional(Env),
  shared: Type.Optional(Type.Boolean({ description: 'one process for all clients; else one a session' })),
  user: Type.Optional(Nullable(Type.String({ description: 'who runs it; null: whoever runs the node' }))),
  sandbox: Type.Optional(Type.Boolean({ description: 'with the system read-only, and a folder of its own' })),
  allow: Type.Optional(Allow),
  network: Type.Optional(Type.Boolean({ description: 'false: the sandbox has none' })),
  idleMs: Type.Optional(Type.Integer({ description: 'after this a process that nobody uses ends' })),
  memoryBytes: Type.Optional(Type.Integer({ description: 'how large the data of each process may grow' })),
  cpuTimeMs: Type.Optional(Nullable(Type.Integer({ description: 'of each process in its life; null: any' }))),
  everywhere: Type.Optional(Type.Boolean({ description: 'on every node of the cluster, not only on this one' })),
}
const StdioCreate = Type.Object(
  { command: Command, ...stdioOptions },
  { additionalProperties: false, description: 'instead of url: the server is a command; for owners' },
)
const StdioPatch = Type.Object(
  {
    command: Type.Optional(Command),
    ...stdioOptions,
    node: Type.Optional(Type.String({ description: 'the name of the member that runs it from now on' })),
  },
  { additionalProperties: false, description: 'of a command; its processes end, and are started anew when needed' },
)
const Stdio = Type.Object(
  {
    command: Command,
    env: Env,
    shared: Type.Boolean({ description: 'one process for all clients; else one a session' }),
    user: Nullable(Type.String({ description: 'who runs it; null: whoever runs the node' })),
    sandbox: Type.Boolean({ description: 'with the system read-only, and a folder of its own' }),
    allow: Allow,
    network: Type.Boolean({ description: 'false: the sandbox has none' }),
    idleMs: Type.Integer({ description: 'after this a process that nobody uses ends' }),
    memoryBytes: Type.Integer({ description: 'how large the data of each process may grow' }),
    cpuTimeMs: Nullable(Type.Integer({ description: 'of each process in its life; null: any' })),
    everywhere: Type.Boolean({ description: 'it runs on every node of the cluster' }),
    node: Nullable(
      Type.String({
        description: 'the one that runs it, by name; null: all, or one that left, or there is no cluster',
      }),
    ),
    status: Type.Object(
      {
        processes: Type.Integer({ description: 'that run now' }),
        startedInAll: Type.Integer({ description: 'since the start of the node' }),
        crashes: Type.Integer({ description: 'ends that nobody asked for, since the start of the node' }),
        lastCrash: Nullable(
          Type.Object(
            { at: Time, detail: Type.String({ description: 'such as exit code 1, or SIGSEGV' }) },
            { description: 'how the last of these ended; null: there was none' },
          ),
        ),
        problem: Nullable(Type.String({ description: 'what is wrong since it last worked' })),
        retryAt: Nullable(Type.String({ description: 'until then none is started after a crash; RFC 3339' })),
        stderr: Type.Array(Type.Object({ at: Time, line: Type.String({ description: 'what it said' }) }), {
          description: 'the last lines of its standard error, without secrets; none in a list',
        }),
      },
      { description: 'on the node that answers' },
    ),
  },
  { description: 'the command that it is; null: it has a url' },
)
export const ServerCreate = Type.Object(
  {
    name: Type.String({ description: 'up to 63 of a-z, 0-9, dot, dash and underscore: it stands in URLs' }),
    url: Type.Optional(Type.String({ description: 'where it is, http or https' })),
    stdio: Type.Optional(StdioCreate),
    kind: Type.Optional(OneOf(KINDS)),
    path: Type.Optional(
      Type.String({ description: 'completes the URL shown to people, such as /mcp; left out: what the look finds' }),
    ),
    headers: Type.Optional(Headers),
    probe: Type.Optional(Type.Boolean({ description: 'false: do not look whether it answers' })),
  },
  { additionalProperties: false },
)
export const ServerPatch = Type.Object(
  {
    url: Type.Optional(Type.String({ description: 'on another origin the headers must be given anew' })),
    stdio: Type.Optional(StdioPatch),
    kind: Type.Optional(OneOf(KINDS)),
    path: Type.Optional(Type.String({ description: 'completes the URL shown to people' })),
    headers: Type.Optional(Headers),
  },
  { additionalProperties: false },
)
const Mcp = Type.Object({
  name: Nullable(Type.String({ description: 'as the server calls itself' })),
  version: Nullable(Type.String({ description: 'of the server' })),
  revision: Type.String({ description: 'of the specification', examples: ['2026-07-28'] }),
  transport: OneOf(['http', 'sse'] as const),
  tools: Nullable(Type.Integer({ description: 'how many; null: it has none, or would not list them all' })),
})
export const Probe = Type.Object({
  reachable: Type.Boolean({ description: 'whether anything answered' }),
  found: OneOf(['mcp', 'sse', 'http', 'nothing'] as const),
  path: Type.String({ description: 'where, below its URL' }),
  detail: Type.String({ description: 'what was seen, in words' }),
  mcp: Nullable(Mcp),
})
const Health = Type.Object({
  reachable: Nullable(Type.Boolean({ description: 'null: not looked at since the start, or the change' })),
  lookedAt: Nullable(Time),
  detail: Nullable(Type.String({ description: 'what was seen, in words' })),
  mcp: Nullable(Mcp),
  requests: Type.Integer({ description: 'through the gate in the last hour' }),
  errors: Type.Integer({ description: 'of those, failures of the server: unreachable, broken off, 500 or above' }),
  errorRate: Nullable(Type.Number({ minimum: 0, maximum: 1, description: 'errors of requests, 0 to 1' })),
})
export const Server = Type.Object({
  id: Type.String(),
  name: Type.String(),
  url: Nullable(Type.String({ description: 'where it is; null: it is a command' })),
  stdio: Nullable(Stdio),
  kind: OneOf([...KINDS, 'stdio'] as const),
  path: Type.String({ description: 'completes the URL shown to people' }),
  headers: Headers,
  state: OneOf(['open', 'closed'] as const),
  reason: Nullable(Type.String({ description: 'why it is closed' })),
  connections: Type.Integer({ description: 'live ones' }),
  health: Health,
  publicUrl: Type.String({ description: 'what to give to a client' }),
  createdAt: Time,
})
export const ServerCreated = Type.Composite([Server, Type.Object({ probe: Nullable(Probe) })])
export const ServerPage = Page(Server)

export const GatePut = Type.Object(
  {
    state: OneOf(['open', 'closed'] as const),
    reason: Type.Optional(Type.String({ description: 'why, for the audit log' })),
  },
  { additionalProperties: false },
)
const LostOnRestart = Type.Optional(
  Type.Literal(true, { description: 'the journal could not be written either: in force until the process ends' }),
)
export const Cut = Type.Object({
  cut: Type.Integer({ description: 'how many connections' }),
  lastCutMs: Nullable(Type.Number({ description: 'from the arrival of the request to the last write' })),
  durable: Type.Boolean({ description: 'false: in force, but not in the database yet (507)' }),
  lostOnRestart: LostOnRestart,
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
    callsPerMinute: Type.Optional(Nullable(Type.Integer({ description: 'calls in any 60 seconds' }))),
    concurrentStreams: Type.Optional(Nullable(Type.Integer({ description: 'event streams held open at once' }))),
  },
  { additionalProperties: false },
)
export const Policy = Type.Object({
  allow: Nullable(Patterns),
  deny: Patterns,
  readOnly: Type.Boolean({ description: 'only tools that are annotated with readOnlyHint' }),
  callsPerMinute: Nullable(Type.Integer({ description: 'null: as many as it likes' })),
  concurrentStreams: Nullable(Type.Integer({ description: 'null: as many as it likes' })),
})
export const TokenCreate = Type.Object(
  {
    name: Type.String({ description: 'unique among those that live' }),
    servers: Type.Array(Type.String(), { description: 'names of servers' }),
    subject: Type.Optional(Nullable(Type.String({ description: 'whose it is' }))),
    group: Type.Optional(Nullable(Type.String({ description: 'with whom it can be revoked' }))),
    expires: Type.Optional(Nullable(Type.String({ description: '30d, or 2026-12-31' }))),
    expiresAt: Type.Optional(Nullable(Time)),
    policy: Type.Optional(Nullable(PolicyPut)),
  },
  { additionalProperties: false },
)
export const Token = Type.Object({
  id: Type.String(),
  name: Type.String(),
  servers: Type.Array(Type.String(), { description: 'names of servers that it may reach' }),
  subject: Nullable(Type.String({ description: 'whose it is' })),
  group: Nullable(Type.String({ description: 'with whom it can be revoked' })),
  status: OneOf(['active', 'expired', 'revoked'] as const),
  createdAt: Time,
  createdBy: Type.String({ description: 'the actor, as in the audit log' }),
  expiresAt: Nullable(Type.String({ description: 'null: never' })),
  oldSecretDiesAt: Nullable(Type.String({ description: 'while a rotation is in grace' })),
  policy: Nullable(Policy),
  revokedAt: Nullable(Time),
  revocationId: Nullable(Type.String({ description: 'its receipt: /revocations/{id}' })),
  lastUsedAt: Nullable(Time),
  client: Nullable(Type.String({ description: 'what used it last calls itself' })),
  connections: Type.Integer({ description: 'live ones' }),
  requests: Type.Integer({ description: 'in the last 30 days' }),
  refusals: Type.Integer({ description: 'of those, refused' }),
  bytesIn: Type.Integer({ description: 'sent by clients' }),
  bytesOut: Type.Integer({ description: 'sent to clients' }),
  deadTries: Type.Object({
    count: Type.Integer({ description: 'how often it was tried since it died' }),
    lastAt: Nullable(Time),
    addresses: Type.Array(
      Type.Object({
        address: Type.String({ description: 'from where' }),
        count: Type.Integer(),
        firstAt: Time,
        lastAt: Time,
      }),
    ),
  }),
  urls: Type.Record(Type.String(), Type.String(), { description: 'what to give to a client, by server' }),
})
export const Snippet = Type.Object({
  title: Type.String({ description: 'the client' }),
  kind: OneOf(['command', 'file', 'code'] as const),
  file: Nullable(Type.String({ description: 'where to put it' })),
  language: OneOf(['sh', 'json', 'toml', 'yaml', 'python', 'javascript'] as const),
  text: Type.String({ description: 'what to paste' }),
  note: Nullable(Type.String({ description: 'what to know about it' })),
  links: Type.Array(Type.Object({ server: Type.String(), url: Type.String() }), {
    description: 'install links, without any secret',
  }),
})
export const Connect = Type.Record(Type.String(), Snippet, { description: 'what to paste into a client, by its id' })
/** `token` is the secret, and `connect` holds it: here, once (both null when an Idempotency-Key answers again). */
export const TokenIssued = Type.Composite([
  Token,
  Type.Object({ token: Nullable(Type.String({ description: 'the secret: here, once' })), connect: Nullable(Connect) }),
])
export const TokenPage = Page(Token)
export const TokenLookup = Type.Object(
  { secret: Type.String({ description: 'a leaked secret, or a line of text that holds one; it is kept nowhere' }) },
  { additionalProperties: false },
)
export const TokenFound = Type.Composite([
  Token,
  Type.Object({
    secretDiesAt: Nullable(Type.String({ description: 'when that very secret dies, or died, by a rotation' })),
  }),
])
export const RotationCreate = Type.Object(
  { graceSeconds: Type.Optional(Type.Integer({ minimum: 0, description: 'how long the old secret lives on' })) },
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
  bucketMs: Type.Integer({ description: 'how long each item is' }),
  items: Type.Array(
    Type.Object({
      at: Time,
      requests: Type.Integer(),
      refusals: Type.Integer({ description: 'of those, refused' }),
      bytesIn: Type.Integer({ description: 'sent by clients' }),
      bytesOut: Type.Integer({ description: 'sent to clients' }),
    }),
    { description: 'evenly spaced, the oldest first; the last one still runs' },
  ),
})

const CallCounts = {
  calls: Type.Integer({ description: 'how many; streams and plain requests too' }),
  errors: Type.Integer({ description: 'answered by an error of JSON-RPC, of the tool, or of HTTP' }),
  refused: Type.Integer({ description: "refused by the token's policy; not in calls" }),
  argumentBytes: Type.Integer({ description: 'how much was sent with them' }),
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
    subject: Type.Optional(Nullable(Type.String({ description: 'tokens of this person' }))),
    group: Type.Optional(Nullable(Type.String({ description: 'tokens of this group' }))),
    server: Type.Optional(Nullable(Type.String({ description: 'tokens that may reach this server' }))),
    issuedBefore: Type.Optional(Nullable(Type.String({ description: 'RFC 3339, or a date: its end' }))),
    all: Type.Optional(Type.Boolean({ description: 'every token' })),
    reason: OneOf(REASONS),
    note: Type.Optional(Type.String({ description: 'more about why' })),
    dryRun: Type.Optional(Type.Boolean({ description: 'only say what would die' })),
  },
  { additionalProperties: false },
)
export const Revocation = Type.Object({
  id: Type.String(),
  at: Time,
  actor: Type.String({ description: 'who did it, as in the audit log' }),
  reason: OneOf(REASONS),
  note: Type.String({ description: 'more about why' }),
  dryRun: Type.Boolean({ description: 'nothing was done' }),
  selector: Type.Record(Type.String(), Type.Unknown(), { description: 'what was asked for' }),
  tokens: Type.Array(Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) })),
  connections: Type.Object({ cut: Type.Integer({ description: 'how many were live' }) }),
  timings: Type.Object({
    commitMs: Nullable(Type.Number({ description: 'on disk; null: not yet' })),
    deniedMs: Nullable(Type.Number({ description: 'no request passes from here on' })),
    firstCutMs: Nullable(Type.Number({ description: 'the last write to the first connection' })),
    lastCutMs: Nullable(Type.Number({ description: 'the last write to the last connection' })),
    upstreamCancelledMs: Nullable(
      Type.Number({ description: 'the last request to a server was cancelled; null: not yet, ask for the receipt' }),
    ),
  }),
  durable: Type.Boolean({ description: 'false: in force, but not in the database yet (507)' }),
  lostOnRestart: LostOnRestart,
  complete: Type.Boolean({ description: 'no node anywhere can let in any more what it killed' }),
  peers: Type.Array(
    Type.Object({
      node: Type.String({ description: 'its name' }),
      state: Word(
        ['acked', 'pending', 'lease_expired', 'removed'] as const,
        'lease_expired: it is not heard from, and lets nobody in any more; removed: it is no member, and may still run',
      ),
      ms: Nullable(Type.Number({ description: "from the arrival of the request to the peer's ack" })),
      cut: Nullable(Type.Integer({ description: 'connections that it cut; null: not told' })),
      leaseEndsAt: Type.Optional(
        Type.String({ description: 'until when it may still let the tokens in, as it is not heard from; RFC 3339' }),
      ),
    }),
    { description: 'the other nodes, by name' },
  ),
})
export const RevocationPage = Page(Revocation)
export const ReceiptConnection = Type.Object({
  n: Type.Integer({ description: 'the order of the cut, from 1' }),
  kind: OneOf(['sse', 'stream', 'request', 'session', 'process'] as const),
  server: Type.String(),
  token: Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) }),
  client: Nullable(Type.String({ description: 'what it called itself' })),
  address: Type.String({ description: 'from where it came' }),
  startedAt: Time,
  endedAt: Time,
  ageMs: Type.Number({ description: 'how long it had lived' }),
  bytesIn: Type.Integer({ description: 'sent by the client' }),
  bytesOut: Type.Integer({ description: 'sent to the client' }),
})
export const ReceiptConnectionPage = Page(ReceiptConnection)

// Connections
export const Connection = Type.Object({
  id: Type.String(),
  kind: OneOf(['sse', 'stream', 'request', 'session', 'process'] as const),
  server: Type.String(),
  token: Type.Object({ id: Type.String(), name: Type.String(), subject: Nullable(Type.String()) }),
  client: Nullable(Type.String({ description: 'what it calls itself' })),
  address: Type.String({ description: 'from where it comes' }),
  method: Type.String(),
  path: Type.String({ description: 'of its request, without a secret' }),
  startedAt: Time,
  ageMs: Type.Number({ description: 'how long it lives' }),
  bytesIn: Type.Integer({ description: 'sent by the client' }),
  bytesOut: Type.Integer({ description: 'sent to the client' }),
})
export const ConnectionPage = Page(Connection)

// Audit
export const AuditRow = Type.Object({
  sequence: Type.Integer({ description: 'counts from 1 without a gap' }),
  time: Time,
  node: Type.String({ description: 'the node that wrote it' }),
  actor: Type.String({ description: 'who did it' }),
  action: Type.String({ description: 'what was done, such as token.revoke' }),
  targetId: Nullable(Type.String({ description: 'to what' })),
  targetName: Nullable(Type.String({ description: 'its name' })),
  reason: Nullable(Type.String()),
  details: Type.Record(Type.String(), Type.Unknown(), { description: 'what depends on the action' }),
  previousHash: Type.String({ description: 'of the row before' }),
  hash: Type.String({ description: 'SHA-256 over the other fields' }),
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
  ok: Type.Boolean({ description: 'it is intact' }),
  rows: Type.Integer({ description: 'how many were read' }),
  sequence: Nullable(Type.Integer({ description: 'the first row that does not hold' })),
  message: Type.String({ description: 'the finding, in words' }),
  checkedAt: Time,
  tookMs: Type.Number({ description: 'how long it took' }),
})
export const Checkpoint = Type.Object({
  database: Type.String({ description: 'the id of the database' }),
  node: Type.String({ description: 'the node that signed it' }),
  sequence: Type.Integer({ description: 'of the last row' }),
  hash: Type.String({ description: 'of the last row' }),
  at: Time,
  keyId: Type.String({ description: 'the key that signed it' }),
  publicKey: Type.String({ description: 'Ed25519, raw, base64' }),
  signature: Type.String({ description: 'Ed25519, base64, over the canonical JSON of the other fields' }),
})

// API keys, operators, keys of the ring
export const ApiKeyCreate = Type.Object(
  {
    name: Type.String(),
    role: OneOf(['operator', 'auditor'] as const),
    expires: Type.Optional(Nullable(Type.String({ description: '90d, or 2026-12-31' }))),
    expiresAt: Type.Optional(Nullable(Time)),
  },
  { additionalProperties: false },
)
export const ApiKey = Type.Object({
  id: Type.String(),
  name: Type.String(),
  role: OneOf(['operator', 'auditor'] as const),
  createdAt: Time,
  createdBy: Type.String({ description: 'the actor, as in the audit log' }),
  expiresAt: Nullable(Type.String({ description: 'null: never' })),
  lastUsedAt: Nullable(Time),
})
export const ApiKeyIssued = Type.Composite([
  ApiKey,
  Type.Object({ key: Nullable(Type.String({ description: 'the API key: here, once' })) }),
])
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
  operator: Type.String({ description: 'the name of the operator' }),
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
export const Link = Type.Object({ url: Type.String({ description: 'to open in a browser, once' }), expiresAt: Time })
export const OperatorCreated = Type.Composite([Operator, Type.Object({ link: Nullable(Link) })])
export const RingKey = Type.Object({
  id: Type.String(),
  current: Type.Boolean({ description: 'new secrets use it' }),
  createdAt: Time,
  liveTokens: Type.Integer({ description: 'tokens that need it' }),
})
export const RingKeyPage = Page(RingKey)
export const KeyRemoved = Type.Object({ id: Type.String(), revocation: Nullable(Revocation) })

// The test of a revocation
const Took = Nullable(Type.Number({ description: "milliseconds from the revocation's start; null: not reached" }))
export const SelfTest = Type.Object({
  at: Time,
  ok: Type.Boolean({ description: 'whether all steps passed' }),
  step: Nullable(Type.String({ description: 'the first step that failed' })),
  message: Nullable(Type.String({ description: 'what was seen there' })),
  meaning: Nullable(Type.String({ description: 'what that means' })),
  tookMs: Type.Number({ description: 'the whole test' }),
  timings: Type.Object({
    commitMs: Took,
    syncMs: Nullable(Type.Number({ description: 'of the commit, the write to the disk and its sync' })),
    deniedMs: Took,
    firstCutMs: Took,
    lastCutMs: Took,
    endSeenMs: Nullable(Type.Number({ description: 'the client saw its stream end' })),
    upstreamCancelledMs: Took,
  }),
  steps: Type.Array(
    Type.Object({
      step: Type.String({ description: 'its name' }),
      state: OneOf(['passed', 'failed', 'skipped'] as const),
      message: Nullable(Type.String({ description: 'what was seen' })),
    }),
    { description: 'in their order' },
  ),
  remarks: Type.Array(Type.String(), { description: 'what is odd, though nothing failed' }),
})
export const SelfTests = Type.Object({
  everyMs: Nullable(Type.Integer({ description: 'how often the node tests itself; null: only when asked' })),
  runs: Type.Integer({ description: 'since the start' }),
  failures: Type.Record(Type.String(), Type.Integer(), { description: 'since the start, by the step that failed' }),
  last: Type.Union([SelfTest, Type.Null()], { description: 'the last one; null: none since the start' }),
})

// The cluster
const NodeName = Type.Object({ id: Type.String(), name: Type.String() })
const Gone = Type.Object({ id: Type.String(), name: Type.String(), url: Type.String({ description: 'where it was' }) })
const Member = Type.Object({
  id: Type.String(),
  name: Type.String(),
  url: Type.String({ description: 'where others reach it' }),
  state: OneOf(['self', 'linked', 'unreachable', 'joining'] as const),
  roundTripMs: Nullable(Type.Number({ description: 'of the last question and its answer' })),
  behind: Nullable(Type.Integer({ description: 'changes that this node has, and the member has not told to have' })),
  heardAt: Nullable(Type.String({ description: 'when it was heard from last, RFC 3339; null: not since the start' })),
  version: Nullable(Type.String({ description: 'of its Portcullis' })),
})
export const Clustered = Type.Object({
  clustered: Type.Literal(true, { description: 'false: this node stands alone; then only `node` is there beside it' }),
  node: NodeName,
  id: Type.String({ description: 'of the cluster' }),
  transport: OneOf(['websocket', 'nats'] as const),
  policy: Word(
    ['lease', 'serve'] as const,
    'what a node does that hears from no majority: lease: it lets nobody in; serve: it goes on',
  ),
  leaseMs: Type.Integer({ description: 'how long a node goes on without a majority, under the policy lease' }),
  serving: Type.Boolean({ description: 'whether this node lets anybody in' }),
  reason: Nullable(
    Type.Unsafe<'not_synced' | 'node_stale'>(
      Type.String({ description: 'why it lets nobody in: not_synced or node_stale' }),
    ),
  ),
  leaseLeftMs: Nullable(Type.Number({ description: "how long this node's lease still runs; null: it needs none" })),
  restored: Type.Boolean({
    description: 'its folder was restored or copied, and the members have not put it in its former place yet',
  }),
  isolated: Type.Boolean({ description: 'it hears from no majority of the members' }),
  behind: Type.Integer({ description: 'changes that the others have, and this node has not' }),
  members: Type.Array(Member, { description: 'by name, this node among them' }),
  void: Type.Array(Gone, {
    description: 'removed by force and not known to be off: until then no revocation is complete',
  }),
  changing: Nullable(Type.String({ description: 'the change of members or policy that is under way' })),
  incomplete: Type.Array(
    Type.Object({ id: Type.String(), waitsFor: Type.Array(Type.String(), { description: 'names of nodes' }) }),
    { description: 'revocations that are not known to be complete, the newest first' },
  ),
  incompleteCount: Type.Integer({ description: 'how many those are; the list may be shorter' }),
})
const Alone = Type.Object({ clustered: Type.Literal(false), node: NodeName })
const { clustered, node: ownName, ...ofACluster } = Clustered.properties
/** One object, so that a reader sees one; a node that stands alone leaves out what it has not. */
export const Cluster = Type.Unsafe<Static<typeof Clustered> | Static<typeof Alone>>(
  Type.Object({
    clustered: Type.Boolean({ description: clustered.description }),
    node: ownName,
    ...Object.fromEntries(Object.entries(ofACluster).map(([name, field]) => [name, Type.Optional(field)])),
  }),
)
export const ClusterTicket = Type.Object({
  ticket: Nullable(Type.String({ description: 'to join with: here, once' })),
  expiresAt: Time,
  url: Type.String({ description: 'where to join: this node, as the others reach it' }),
})
export const MemberRemoved = Type.Object({
  id: Type.String(),
  name: Type.String(),
  off: Type.Boolean({
    description: 'it is known to let nobody in; false: until somebody says so, nothing is complete',
  }),
})

// The node
const Address = Type.Object({ host: Type.String(), port: Type.Integer() })
export const Node = Type.Object({
  version: Type.String({ description: 'of Portcullis' }),
  node: Type.String({ description: 'its id' }),
  gateUrl: Type.String({ description: 'as clients see it' }),
  consoleUrl: Type.String({ description: 'as people see it' }),
  dataFolder: Type.String(),
  keyFile: Type.String(),
  pid: Type.Integer({ description: 'the number of its process, as it sees it itself' }),
  listening: Type.Object({ gate: Address, console: Address }, { description: 'what it is bound to' }),
  tls: Nullable(Type.Object({ certFile: Type.String(), keyFile: Type.String() })),
  trustedProxies: Type.Array(Type.String()),
  startedAt: Time,
  gate: Type.Object({ state: OneOf(['open', 'closed'] as const), reason: Nullable(Type.String()) }),
  connections: Type.Integer({ description: 'live ones' }),
  connectionsMax: Type.Integer({ description: 'how many its limit of open files allows at once' }),
  ready: Type.Boolean({ description: 'as /readyz' }),
  problems: Type.Array(Type.String(), { description: 'why it is not ready' }),
  verification: Nullable(Verification),
  /** When a backup was last asked for. */
  backupAt: Nullable(Type.String({ description: 'of the last backup, RFC 3339' })),
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
export type SelfTestJson = Static<typeof SelfTest>
export type SelfTestsJson = Static<typeof SelfTests>
export type NodeJson = Static<typeof Node>
export type ClusterJson = Static<typeof Cluster>
export type ClusteredJson = Static<typeof Clustered>
export type ClusterTicketJson = Static<typeof ClusterTicket>
export type MemberRemovedJson = Static<typeof MemberRemoved>
