import { type Static, Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Verification } from '../../audit.ts'
import { csvLine } from '../../csv.ts'
import { notFound } from '../../error.ts'
import type { AuditFilter, Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime, parseSince, parseTime } from '../../time.ts'
import { contextOf } from '../context.ts'
import { numberAfter, pageOf, pageRequest } from './page.ts'
import { auditJson } from './present.ts'
import {
  AuditExportQuery,
  AuditPage,
  AuditQuery,
  AuditRow,
  type AuditRowJson,
  Checkpoint,
  Verification as VerificationSchema,
} from './schemas.ts'
import { told } from './told.ts'

const verificationJson = (node: Node, result: Verification, startedAt: number) => ({
  ...result,
  ok: result.status === 'intact',
  checkedAt: formatTime(node.now()),
  tookMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
})

/** The filter of a query; what is left empty, as forms do, filters nothing. Throws `invalid`. */
export const auditFilterOf = (query: Static<typeof AuditQuery>, now: number): AuditFilter => {
  const filter: AuditFilter = {}
  for (const field of ['actor', 'action', 'target'] as const) {
    const value = query[field]?.trim()
    if (value) filter[field] = value
  }
  if (query.since?.trim()) filter.since = parseSince(query.since, now)
  if (query.until?.trim()) filter.until = parseTime(query.until, 'until')
  return filter
}

const COLUMNS = [
  'sequence',
  'time',
  'node',
  'actor',
  'action',
  'targetId',
  'targetName',
  'reason',
  'details',
  'previousHash',
  'hash',
] as const satisfies readonly (keyof AuditRowJson)[]

const FORMATS = {
  jsonl: {
    type: 'application/jsonl; charset=utf-8',
    head: '',
    line: (row: AuditRowJson) => `${JSON.stringify(row)}\n`,
  },
  csv: {
    type: 'text/csv; charset=utf-8',
    head: csvLine(COLUMNS),
    line: (row: AuditRowJson) => csvLine(COLUMNS.map((column) => row[column])),
  },
}

async function* exported(node: Node, filter: AuditFilter, format: keyof typeof FORMATS): AsyncGenerator<string> {
  const { head, line } = FORMATS[format]
  if (head !== '') yield head
  for await (const rows of node.reads.auditRows(filter)) yield rows.map((row) => line(auditJson(row))).join('')
}

export const auditRoutes = (node: Node) =>
  new Elysia({ name: 'audit', tags: ['audit'] })
    .get(
      '/audit',
      async ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { limit, after } = pageRequest(query)
        const filter = auditFilterOf(query, node.now())
        const page = { limit: limit + 1, after: numberAfter(after), order: query.order ?? 'asc' }
        const rows = await node.reads.audit({ ...page, ...filter })
        return pageOf(rows, limit, (row) => String(row.sequence), auditJson)
      },
      { detail: told('auditor', 'List rows of the audit log'), query: AuditQuery, response: { 200: AuditPage } },
    )
    .get(
      '/audit/:sequence',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const row = /^\d{1,15}$/.test(params.sequence) ? node.reads.auditRow(Number(params.sequence)) : null
        if (!row) throw notFound('no row of the audit log has that sequence')
        return auditJson(row)
      },
      {
        detail: told('auditor', 'Show one row of the audit log'),
        params: Type.Object({ sequence: Type.String() }),
        response: { 200: AuditRow },
      },
    )
    .get(
      '/audit/export',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { format = 'jsonl' } = query
        // The runtime takes what yields text as a body; its types don't say so.
        return new Response(exported(node, auditFilterOf(query, node.now()), format) as unknown as BodyInit, {
          headers: {
            'content-type': FORMATS[format].type,
            'content-disposition': `attachment; filename="audit-${formatTime(node.now()).slice(0, 10)}.${format}"`,
            'cache-control': 'no-store',
          },
        })
      },
      {
        query: AuditExportQuery,
        detail: {
          ...told('auditor', 'Download rows as JSON lines or CSV'),
          responses: {
            200: {
              description: 'all rows that match, the oldest first',
              content: Object.fromEntries(
                Object.values(FORMATS).map(({ type }) => [type, { schema: { type: 'string' as const } }]),
              ),
            },
          },
        },
      },
    )
    .get(
      '/audit/verification',
      async ({ request }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'auditor')
        return verificationJson(node, await node.verify(null), arrivedAt)
      },
      { detail: told('auditor', 'Verify the hash chain now'), response: { 200: VerificationSchema } },
    )
    .post(
      '/audit/verification',
      async ({ request, body }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'auditor')
        return verificationJson(node, await node.verify(body), arrivedAt)
      },
      {
        detail: told('auditor', 'Verify the hash chain against a checkpoint kept from before'),
        body: Checkpoint,
        response: { 200: VerificationSchema },
      },
    )
    .get(
      '/audit/checkpoint',
      ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return node.checkpoint()
      },
      { detail: told('auditor', 'A signed head of the audit log, to keep elsewhere'), response: { 200: Checkpoint } },
    )
