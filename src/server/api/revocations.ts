import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { invalid, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { parseDuration, parseTime } from '../../time.ts'
import { contextOf } from '../context.ts'
import { numberAfter, pageOf, pageRequest } from './page.ts'
import { receiptConnectionJson, receiptJson } from './present.ts'
import { PageQuery, ReceiptConnectionPage, Revocation, RevocationCreate, RevocationPage } from './schemas.ts'
import { told } from './told.ts'

export const revocationRoutes = (node: Node) =>
  new Elysia({ name: 'revocations', tags: ['revocations'] })
    .post(
      '/revocations',
      async ({ request, body, query, set }) => {
        const { actor, arrivedAt } = contextOf(request)
        requireRole(actor, 'operator', true)
        const waitMs = query.wait === undefined ? node.limits.ackWaitMs : parseDuration(query.wait, 'wait')
        if (waitMs > node.limits.ackWaitMsMax) throw invalid('wait: at most 60s')
        const { issuedBefore, ...rest } = body
        const before =
          issuedBefore === null || issuedBefore === undefined ? null : parseTime(issuedBefore, 'issuedBefore')
        const receipt = await node.revocations.revoke({ ...rest, issuedBefore: before }, actor, arrivedAt)
        // In a cluster it may name tokens that are not known here yet, and is recorded though it killed none.
        const isNew = !receipt.dryRun && (receipt.tokens.length > 0 || node.reads.receipt(receipt.id) !== null)
        set.status = receipt.durable ? (isNew ? 201 : 200) : 507
        if (isNew) {
          set.headers.location = `/api/v1/revocations/${receipt.id}`
          await node.cluster.settled(receipt.id, waitMs, query.wait !== undefined)
        }
        return receiptJson(node, receipt, isNew)
      },
      {
        detail: told('operator', 'Revoke tokens, and cut what is in flight under them'),
        body: RevocationCreate,
        query: Type.Object({
          wait: Type.Optional(
            Type.String({ description: 'how long to wait for the other nodes, such as 5s, at most 60s; else 250 ms' }),
          ),
        }),
        response: { 200: Revocation, 201: Revocation, 507: Revocation },
      },
    )
    .get(
      '/revocations',
      ({ request, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { limit, after } = pageRequest(query)
        return pageOf(
          node.reads.receipts(limit + 1, after),
          limit,
          ({ id }) => id,
          (receipt) => receiptJson(node, receipt),
        )
      },
      {
        detail: told('auditor', 'List the receipts of revocations, the newest first'),
        query: PageQuery,
        response: { 200: RevocationPage },
      },
    )
    .get(
      '/revocations/:id',
      ({ request, params }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const receipt = node.reads.receipt(params.id)
        if (!receipt) throw notFound('no revocation has that id')
        return receiptJson(node, receipt)
      },
      {
        detail: told('auditor', 'Show one receipt'),
        params: Type.Object({ id: Type.String() }),
        response: { 200: Revocation },
      },
    )
    .get(
      '/revocations/:id/connections',
      ({ request, params, query }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { limit, after } = pageRequest(query)
        const found = node.reads.receiptConnections(params.id, limit + 1, numberAfter(after))
        if (found.length === 0 && !node.reads.receipt(params.id)) throw notFound('no revocation has that id')
        return pageOf(
          found,
          limit,
          ({ n }) => String(n),
          (connection) => receiptConnectionJson(node, connection),
        )
      },
      {
        detail: told('auditor', 'List the connections that a revocation cut'),
        params: Type.Object({ id: Type.String() }),
        query: PageQuery,
        response: { 200: ReceiptConnectionPage },
      },
    )
