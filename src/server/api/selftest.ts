import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { contextOf } from '../context.ts'
import { selfTestJson } from './present.ts'
import { SelfTest, SelfTests } from './schemas.ts'
import { told } from './told.ts'

/** The test of a revocation, by the node itself. */
export const selfTestRoutes = (node: Node) =>
  new Elysia({ name: 'selftest', tags: ['node'] })
    .get(
      '/selftest',
      ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const { everyMs, counts, last } = node.selfTest
        const { runs, failures } = counts
        return { everyMs, runs, failures: Object.fromEntries(failures), last: last && selfTestJson(last) }
      },
      { detail: told('auditor', 'How the last test of a revocation went'), response: { 200: SelfTests } },
    )
    .post(
      '/selftest',
      async ({ request }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'operator')
        return selfTestJson(await node.selfTest.ask(actor))
      },
      {
        detail: told('operator', 'Test now that revoking works, with a hidden token; touches nothing of yours'),
        response: { 200: SelfTest },
      },
    )
