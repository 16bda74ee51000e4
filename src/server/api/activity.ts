import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { type ActivityRow, ActivitySummary, type Counted } from '../../activity.ts'
import { csvLine } from '../../csv.ts'
import { invalid } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime, parseSince } from '../../time.ts'
import { statusOf, type Token } from '../../token.ts'
import { contextOf } from '../context.ts'
import { Activity } from './schemas.ts'
import { findToken } from './tokens.ts'
import { told } from './told.ts'

const COLUMNS = [
  ...['server', 'method', 'name', 'address', 'client'],
  ...['calls', 'errors', 'refused', 'argumentBytes', 'firstAt', 'lastAt'],
]

const times = ({ firstAt, lastAt }: { firstAt: number; lastAt: number }) => ({
  firstAt: formatTime(firstAt),
  lastAt: formatTime(lastAt),
})

/** A removed server is still known by its name. */
const serverOf = (node: Node, id: string): string => node.servers.byId.get(id)?.name ?? id

/** All rows in slices, with a pause after each: a revocation waits no longer than one takes. */
async function* slicesOf(node: Node, token: Token, since: number): AsyncGenerator<ActivityRow[]> {
  for (const rows of node.reads.activityOf(token.id, since)) {
    yield rows
    await Bun.sleep(0)
  }
  yield node.activity.pending(token.id).filter(({ lastAt }) => lastAt >= since)
}

/** What a token did since then: how often, from where, with which clients; never what was said. */
export const activityJson = async (node: Node, token: Token, since: number) => {
  const summary = new ActivitySummary()
  for await (const rows of slicesOf(node, token, since)) for (const row of rows) summary.add(row)
  const { tools, methods, addresses, clients } = summary.lists
  const max = node.limits.pageSizeMax
  const counted = ({ calls, errors, refused, argumentBytes, ...rest }: Counted) => ({
    calls,
    errors,
    refused,
    argumentBytes,
    ...times(rest),
  })
  return {
    token: { id: token.id, name: token.name, subject: token.subject, status: statusOf(token, node.now()) },
    since: formatTime(since),
    until: formatTime(node.now()),
    ...summary.totals,
    tools: tools
      .slice(0, max)
      .map((row) => ({ server: serverOf(node, row.serverId), name: row.name, ...counted(row) })),
    methods: methods
      .slice(0, max)
      .map((row) => ({ server: serverOf(node, row.serverId), method: row.name, ...counted(row) })),
    addresses: addresses.slice(0, max).map((row) => ({ address: row.name, ...counted(row) })),
    clients: clients.slice(0, max).map((row) => ({ client: row.name, ...counted(row) })),
    truncated: [tools, methods, addresses, clients].some(({ length }) => length > max),
  }
}

/** The same as lines of CSV, one for each tool, address, client and stretch of time. */
async function* activityCsv(node: Node, token: Token, since: number): AsyncGenerator<string> {
  yield csvLine(COLUMNS)
  for await (const rows of slicesOf(node, token, since)) {
    const lines = rows.map((row) => {
      const flat: Record<string, unknown> = { ...row, server: serverOf(node, row.serverId), ...times(row) }
      return csvLine(COLUMNS.map((column) => flat[column]))
    })
    if (lines.length > 0) yield lines.join('')
  }
}

const FORMATS = ['json', 'csv']

/** What is older than the retention is gone, so that is how far back anything reaches. */
const sinceOf = (text: string | undefined, now: number, retentionMs: number): number => {
  const since = text === undefined ? 0 : parseSince(text, now)
  if (since > now) throw invalid('since: that is in the future')
  return Math.max(since, now - retentionMs)
}

export const activityRoutes = (node: Node) =>
  new Elysia({ name: 'activity', tags: ['tokens'] }).get(
    '/tokens/:id/activity',
    ({ request, params, query }) => {
      requireRole(contextOf(request).actor, 'auditor')
      const token = findToken(node, params.id)
      const since = sinceOf(query.since, node.now(), node.limits.usageRetentionMs)
      const accepts = request.headers.get('accept')?.includes('text/csv') ? 'csv' : 'json'
      const format = query.format ?? accepts
      if (!FORMATS.includes(format)) throw invalid('format: write json or csv')
      if (format === 'json') return activityJson(node, token, since)
      // The runtime takes what yields text as a body; its types don't say so.
      return new Response(activityCsv(node, token, since) as unknown as BodyInit, {
        headers: { 'content-type': 'text/csv; charset=utf-8', 'cache-control': 'no-store' },
      })
    },
    {
      detail: told('auditor', 'What a token did: tools, methods, addresses, clients'),
      params: Type.Object({ id: Type.String() }),
      query: Type.Object({
        since: Type.Optional(Type.String({ description: 'RFC 3339, a date, or how long ago: 24h' })),
        format: Type.Optional(Type.String({ description: 'json or csv' })),
      }),
      response: { 200: Activity },
    },
  )
