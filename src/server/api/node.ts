import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import { formatTime } from '../../time.ts'
import { contextOf } from '../context.ts'
import { receiptJson, verificationJson } from './present.ts'
import { KeyRemoved, Node as NodeSchema, RingKey, RingKeyPage } from './schemas.ts'
import { told } from './told.ts'

const ringKeyJson = (key: { id: string; current: boolean; createdAt: number; liveTokens: number }) => ({
  ...key,
  createdAt: formatTime(key.createdAt),
})

/** The node itself: its state, its keys, its backup. */
export const nodeRoutes = (node: Node) =>
  new Elysia({ name: 'node', tags: ['node'] })
    .get(
      '/node',
      ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        const problems = node.problems()
        const servers = node.servers.live()
        const closed = servers.length > 0 && servers.every((server) => server.state === 'closed')
        return {
          version: node.version.version,
          node: node.id,
          gateUrl: node.gateUrl,
          consoleUrl: node.consoleUrl,
          dataFolder: node.config.data,
          keyFile: node.config.keyFile,
          pid: process.pid,
          listening: node.listening,
          tls: node.config.tls && { certFile: node.config.tls.certPath, keyFile: node.config.tls.keyPath },
          trustedProxies: node.config.trustedProxies.map(({ text }) => text),
          startedAt: formatTime(node.startedAt),
          gate: {
            state: closed ? ('closed' as const) : ('open' as const),
            reason: closed ? (servers[0]?.reason ?? null) : null,
          },
          connections: node.registry.size,
          connectionsMax: node.registry.connectionsMax,
          ready: problems.length === 0,
          problems,
          verification: node.verification && verificationJson(node.verification),
          backupAt: node.backupAt === null ? null : formatTime(node.backupAt),
        }
      },
      { detail: told('auditor', 'The node: version, addresses, whether it is ready'), response: { 200: NodeSchema } },
    )
    .get(
      '/keys',
      async ({ request }) => {
        requireRole(contextOf(request).actor, 'auditor')
        // A ring holds a handful of keys: all of them are one page.
        return { items: (await node.keys.list()).map(ringKeyJson), next: null }
      },
      { detail: told('auditor', 'List the keys of the ring'), response: { 200: RingKeyPage } },
    )
    .post(
      '/keys',
      async ({ request, set }) => {
        const { id } = node.keys.rotate(contextOf(request).actor)
        set.status = 201
        set.headers.location = `/api/v1/keys/${id}`
        const key = (await node.keys.list()).find((candidate) => candidate.id === id)
        return ringKeyJson(key as NonNullable<typeof key>)
      },
      {
        detail: told('owner', 'Make a new key; new secrets use it, and old ones stay valid'),
        response: { 201: RingKey },
      },
    )
    .delete(
      '/keys/:id',
      async ({ request, params, query }) => {
        const { actor, arrivedAt } = contextOf(request)
        const receipt = await node.keys.remove(params.id, query.revoke === 'true', actor, arrivedAt)
        if (receipt) await node.cluster.settled(receipt.id, node.limits.ackWaitMs)
        return { id: params.id, revocation: receipt ? receiptJson(node, receipt) : null }
      },
      {
        detail: told('owner', 'Remove a key; refused while live tokens use it, unless ?revoke=true'),
        params: Type.Object({ id: Type.String() }),
        query: Type.Object({ revoke: Type.Optional(Type.String({ description: 'true: revoke them' })) }),
        response: { 200: KeyRemoved },
      },
    )
    .get(
      '/backup',
      async ({ request }) => {
        const { actor } = contextOf(request)
        requireRole(actor, 'owner')
        // A generator is a body to the runtime, though not to the types.
        return new Response((await node.backup(actor)) as unknown as BodyInit, {
          headers: { 'content-type': 'application/octet-stream', 'cache-control': 'no-store' },
        })
      },
      { detail: told('owner', 'Download a backup of the live node') },
    )
