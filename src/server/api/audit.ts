import { Elysia } from 'elysia'
import type { Verification } from '../../audit.ts'
import { invalid } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import { contextOf } from '../context.ts'
import { pageOf, pageRequest } from './page.ts'
import { auditJson } from './present.ts'
import { AuditPage, AuditQuery, Checkpoint, Verification as VerificationSchema } from './schemas.ts'

const verificationJson = (node: Node, result: Verification, startedAt: number) => ({
  ...result,
  ok: result.status === 'intact',
  checkedAt: formatTime(node.now()),
  tookMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
})

const sequence = (after: string | null): number | null => {
  if (after === null) return null
  if (!/^\d{1,15}$/.test(after)) throw invalid('after: write the sequence of a row')
  return Number(after)
}

export const auditRoutes = (node: Node) =>
  new Elysia({ name: 'audit', tags: ['audit'] })
    .get(
      '/audit',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { limit, after } = pageRequest(query)
        const { order = 'asc', actor, action, target } = query
        const rows = node.reads.audit({ limit: limit + 1, after: sequence(after), order, actor, action, target })
        return pageOf(rows, limit, (row) => String(row.sequence), auditJson)
      },
      { query: AuditQuery, response: { 200: AuditPage } },
    )
    .get(
      '/audit/verification',
      async ({ request }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'auditor')
        return verificationJson(node, await node.verify(null), arrivedAt)
      },
      { response: { 200: VerificationSchema } },
    )
    .post(
      '/audit/verification',
      async ({ request, body }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'auditor')
        return verificationJson(node, await node.verify(body), arrivedAt)
      },
      { body: Checkpoint, response: { 200: VerificationSchema } },
    )
    .get(
      '/audit/checkpoint',
      ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        return node.checkpoint()
      },
      { response: { 200: Checkpoint } },
    )
