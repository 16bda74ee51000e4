import { sql } from 'drizzle-orm'
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core'
import type { PeerReceipt } from '../cluster-view.ts'
import type { Policy } from '../policy.ts'
import type { StdioSpec } from '../stdio.ts'

/** Times are milliseconds since the epoch. Nothing here is a secret: digests and sealed values only. */

export const meta = sqliteTable('meta', {
  key: text('key').primaryKey(),
  value: text('value').notNull(),
})

export const servers = sqliteTable('servers', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  url: text('url').notNull(),
  kind: text('kind', { enum: ['auto', 'mcp', 'http', 'stdio'] }).notNull(),
  path: text('path').notNull(),
  /** JSON of name and value pairs, sealed under the key file. */
  headers: text('headers').notNull(),
  /** What runs it, without its environment; null: it has a URL. */
  stdio: text('stdio', { mode: 'json' }).$type<Omit<StdioSpec, 'env'>>(),
  /** The environment: JSON of name and value pairs, sealed likewise. */
  env: text('env'),
  state: text('state', { enum: ['open', 'closed'] }).notNull(),
  reason: text('reason'),
  createdAt: integer('created_at').notNull(),
  removedAt: integer('removed_at'),
})

export const tokens = sqliteTable('tokens', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  subject: text('subject'),
  group: text('group_name'),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by').notNull(),
  expiresAt: integer('expires_at'),
  revokedAt: integer('revoked_at'),
  revocationId: text('revocation_id'),
  policy: text('policy', { mode: 'json' }).$type<Policy>(),
  /** Which revocations its issuer knew: a row of `seen`; null: none. */
  seen: integer('seen'),
})

/** What issuers of tokens knew, each once: revocations by origin, as JSON. */
export const seen = sqliteTable(
  'seen',
  { id: integer('id').primaryKey(), vector: text('vector').notNull() },
  (table) => [uniqueIndex('seen_vector').on(table.vector)],
)

export const tokenServers = sqliteTable(
  'token_servers',
  { tokenId: text('token_id').notNull(), serverId: text('server_id').notNull() },
  (table) => [primaryKey({ columns: [table.tokenId, table.serverId] })],
)

export const secrets = sqliteTable(
  'secrets',
  {
    /** HMAC-SHA256 of the secret, base64. */
    digest: text('digest').primaryKey(),
    keyId: text('key_id').notNull(),
    tokenId: text('token_id').notNull(),
    createdAt: integer('created_at').notNull(),
    diesAt: integer('dies_at'),
  },
  (table) => [index('secrets_token').on(table.tokenId)],
)

export const revocations = sqliteTable(
  'revocations',
  {
    id: text('id').primaryKey(),
    at: integer('at').notNull(),
    actor: text('actor').notNull(),
    reason: text('reason').notNull(),
    note: text('note').notNull(),
    selector: text('selector').notNull(),
    tokens: text('tokens').notNull(),
    cut: integer('cut').notNull().default(0),
    timings: text('timings'),
    /** Its fact; null: of before there were facts of it. */
    origin: text('origin'),
    seq: integer('seq'),
    /** What peers did, and when no node could let the dead in any more. */
    peers: text('peers', { mode: 'json' }).$type<readonly PeerReceipt[]>(),
    completedAt: integer('completed_at'),
  },
  // Asked for by every page, and nearly always empty.
  (table) => [
    index('revocations_open')
      .on(table.id)
      .where(sql`"completed_at" IS NULL AND "origin" IS NOT NULL`),
  ],
)

/** What died with a revocation: kept beside it, when all is silent. */
export const revocationConnections = sqliteTable(
  'revocation_connections',
  {
    revocationId: text('revocation_id').notNull(),
    n: integer('n').notNull(),
    tokenId: text('token_id').notNull(),
    serverId: text('server_id').notNull(),
    kind: text('kind', { enum: ['sse', 'stream', 'request', 'session', 'process'] }).notNull(),
    client: text('client'),
    address: text('address').notNull(),
    startedAt: integer('started_at').notNull(),
    endedAt: integer('ended_at').notNull(),
    bytesIn: integer('bytes_in').notNull(),
    bytesOut: integer('bytes_out').notNull(),
  },
  (table) => [primaryKey({ columns: [table.revocationId, table.n] })],
)

/** Rows of the audit log whose first and last time are found together. */
export const AUDIT_BLOCK = 4_096

export const audit = sqliteTable(
  'audit',
  {
    sequence: integer('sequence').primaryKey({ autoIncrement: true }),
    at: integer('at').notNull(),
    node: text('node').notNull(),
    actor: text('actor').notNull(),
    action: text('action').notNull(),
    targetId: text('target_id'),
    targetName: text('target_name'),
    reason: text('reason'),
    details: text('details').notNull(),
    previousHash: text('previous_hash').notNull(),
    hash: text('hash').notNull(),
  },
  // Each carries the sequence at its end, so that rows come in order under one value of all its columns.
  (table) => [
    index('audit_actor').on(table.actor, table.action),
    index('audit_action').on(table.action),
    index('audit_target').on(table.targetId, table.action),
    index('audit_target_name').on(table.targetName),
    // Times follow the sequence, unless the clock was set back: so blocks of rows are passed over by theirs.
    index('audit_time').on(sql.raw(`("sequence" / ${AUDIT_BLOCK})`), table.at),
  ],
)

const factColumns = {
  origin: text('origin').notNull(),
  stream: text('stream', { enum: ['revocation', 'change'] }).notNull(),
  seq: integer('seq').notNull(),
  kind: text('kind').notNull(),
  hlc: text('hlc').notNull(),
  payload: text('payload').notNull(),
}

export const facts = sqliteTable('facts', factColumns, (table) => [
  primaryKey({ columns: [table.origin, table.stream, table.seq] }),
])

/** Facts that a restore brought along, until the next start applies them. */
export const carried = sqliteTable('carried', factColumns, (table) => [
  primaryKey({ columns: [table.origin, table.stream, table.seq] }),
])

/** Who wrote last what the last writer decides: `policy:ID`, `gate:ID`, … */
export const registers = sqliteTable('registers', { key: text('key').primaryKey(), stamp: text('stamp').notNull() })

/** Facts that wait for what they are about (`token:ID`, `server:ID`, …), or for a program that knows them (`kind:KIND`). */
export const parked = sqliteTable(
  'parked',
  {
    target: text('target').notNull(),
    origin: text('origin').notNull(),
    stream: text('stream', { enum: ['revocation', 'change'] }).notNull(),
    seq: integer('seq').notNull(),
  },
  (table) => [primaryKey({ columns: [table.target, table.origin, table.stream, table.seq] })],
)

const counters = {
  requests: integer('requests').notNull(),
  refusals: integer('refusals').notNull(),
  bytesIn: integer('bytes_in').notNull(),
  bytesOut: integer('bytes_out').notNull(),
  client: text('client'),
}

export const usageMinutes = sqliteTable(
  'usage_minutes',
  { tokenId: text('token_id').notNull(), minute: integer('minute').notNull(), ...counters },
  (table) => [primaryKey({ columns: [table.tokenId, table.minute] }), index('usage_minute').on(table.minute)],
)

export const usageTotals = sqliteTable('usage_totals', {
  tokenId: text('token_id').primaryKey(),
  lastUsedAt: integer('last_used_at'),
  ...counters,
})

export const evidence = sqliteTable(
  'evidence',
  {
    tokenId: text('token_id').notNull(),
    address: text('address').notNull(),
    count: integer('count').notNull(),
    firstAt: integer('first_at').notNull(),
    lastAt: integer('last_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tokenId, table.address] })],
)

/** What tokens did: by the minute, after a day by the hour. Texts are empty where there is nothing to say. */
export const activity = sqliteTable(
  'activity',
  {
    tokenId: text('token_id').notNull(),
    minute: integer('minute').notNull(),
    serverId: text('server_id').notNull(),
    method: text('method').notNull(),
    name: text('name').notNull(),
    address: text('address').notNull(),
    client: text('client').notNull(),
    calls: integer('calls').notNull(),
    errors: integer('errors').notNull(),
    refused: integer('refused').notNull(),
    argumentBytes: integer('argument_bytes').notNull(),
    firstAt: integer('first_at').notNull(),
    lastAt: integer('last_at').notNull(),
  },
  (table) => [
    primaryKey({
      columns: [table.tokenId, table.minute, table.serverId, table.method, table.name, table.address, table.client],
    }),
    index('activity_minute').on(table.minute),
  ],
)

export const operators = sqliteTable(
  'operators',
  {
    id: text('id').primaryKey(),
    name: text('name').notNull(),
    role: text('role', { enum: ['owner', 'operator', 'auditor'] }).notNull(),
    createdAt: integer('created_at').notNull(),
    lastSignInAt: integer('last_sign_in_at'),
    passwordHash: text('password_hash'),
  },
  // Two nodes may make one name before they hear of each other.
  (table) => [index('operators_name').on(table.name)],
)

export const apiKeys = sqliteTable('api_keys', {
  id: text('id').primaryKey(),
  name: text('name').notNull(),
  role: text('role', { enum: ['operator', 'auditor'] }).notNull(),
  digest: text('digest').notNull(),
  keyId: text('key_id').notNull(),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by').notNull(),
  expiresAt: integer('expires_at'),
  revokedAt: integer('revoked_at'),
})

export const idempotency = sqliteTable(
  'idempotency',
  {
    actor: text('actor').notNull(),
    key: text('key').notNull(),
    request: text('request').notNull(),
    status: integer('status').notNull(),
    response: text('response').notNull(),
    location: text('location'),
    at: integer('at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.actor, table.key] })],
)
