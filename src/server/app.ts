import { openapi } from '@elysiajs/openapi'
import { Elysia } from 'elysia'
import type { Node } from '../node.ts'
import { activityRoutes } from './api/activity.ts'
import { auditRoutes } from './api/audit.ts'
import { clusterRoutes } from './api/cluster.ts'
import { connectionRoutes } from './api/connections.ts'
import { nodeRoutes } from './api/node.ts'
import { peopleRoutes } from './api/people.ts'
import { revocationRoutes } from './api/revocations.ts'
import { selfTestRoutes } from './api/selftest.ts'
import { serverRoutes } from './api/servers.ts'
import { tokenRoutes } from './api/tokens.ts'
import { problemFor } from './errors.ts'

/**
 * The whole JSON API. Who asks was settled by the door before a request comes here; each route says which
 * role it needs.
 */
export const createApi = (node: Node) =>
  new Elysia({ prefix: '/api/v1', normalize: false })
    .onError(({ error, request }) =>
      problemFor(error, (unknown) =>
        node.log.error(
          { err: unknown, method: request.method, path: new URL(request.url).pathname },
          'a request of the API failed',
        ),
      ),
    )
    .use(serverRoutes(node)) //     /servers, /servers/:name, …/gate, …/connections, …/probes, /gate
    .use(tokenRoutes(node)) //      /tokens, /tokens/:id, …/usage, …/connect, …/policy, …/rotations
    .use(activityRoutes(node)) //   /tokens/:id/activity
    .use(revocationRoutes(node)) // /revocations, /revocations/:id, …/connections
    .use(connectionRoutes(node)) // /connections, /connections/:id
    .use(auditRoutes(node)) //      /audit, /audit/:sequence, …/export, …/verification, …/checkpoint
    .use(peopleRoutes(node)) //     /apikeys, /operators, /operators/:name/links, /sessions, /setup-links
    .use(nodeRoutes(node)) //       /node, /keys, /backup
    .use(clusterRoutes(node)) //    /cluster, …/tickets, …/members/:node
    .use(selfTestRoutes(node)) //   /selftest
    .use(
      openapi({
        provider: null,
        specPath: '/openapi.json',
        documentation: {
          info: {
            title: 'Portcullis',
            version: node.version.version,
            description: 'Tokens for AI clients that can be killed. Errors are problem+json (RFC 9457).',
          },
          components: {
            securitySchemes: { apiKey: { type: 'http', scheme: 'bearer', description: 'an API key, pca_…' } },
          },
          security: [{ apiKey: [] }],
        },
      }),
    )

export type Api = ReturnType<typeof createApi>
