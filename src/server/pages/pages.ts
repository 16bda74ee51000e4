import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { accessRoutes } from './access.tsx'
import { apiKeyRoutes } from './api-keys.tsx'
import { assetRoutes } from './assets.ts'
import { auditRoutes } from './audit.tsx'
import { clusterPageRoutes } from './cluster.tsx'
import { connectionRoutes } from './connections.tsx'
import { failure } from './failure.tsx'
import { findRoutes } from './find.tsx'
import { gatePageRoutes } from './gate.tsx'
import { keyRoutes } from './keys.tsx'
import { nodePageRoutes } from './node.tsx'
import { operatorRoutes } from './operators.tsx'
import { overviewRoutes } from './overview.tsx'
import { policyRoutes } from './policy.tsx'
import { revocationRoutes } from './revocations.tsx'
import { rotationRoutes } from './rotations.tsx'
import { serverPageRoutes } from './servers.tsx'
import { sessionRoutes } from './sessions.tsx'
import { setupRoutes } from './setup.tsx'
import { signInRoutes } from './sign-in.tsx'
import { tokenRoutes } from './token.tsx'
import { tokensRoutes } from './tokens.tsx'

/** The pages of the console. Every route but the first three groups asks who is signed in. */
export const createPages = (node: Node) =>
  new Elysia({ normalize: false })
    .onError(({ error, request }) => failure(node, request, error))
    .use(assetRoutes()) //         /assets/…
    .use(setupRoutes(node)) //     /setup
    .use(signInRoutes(node)) //    /sign-in, /sign-out
    .use(overviewRoutes(node)) //  /
    .use(serverPageRoutes(node)) // /servers, /servers/new, …/new/command, /servers/:name, …/edit, …/probes
    .use(gatePageRoutes(node)) //  /gate, /servers/:name/gate, …/kill, …/removal
    .use(findRoutes(node)) //      /find
    .use(tokensRoutes(node)) //    /tokens, /tokens/new
    .use(tokenRoutes(node)) //     /tokens/:id, …/connect
    .use(rotationRoutes(node)) //  /tokens/:id/rotations/new, …/rotations
    .use(policyRoutes(node)) //    /tokens/:id/policy
    .use(revocationRoutes(node)) // /revocations, /revocations/new, /revocations/:id
    .use(accessRoutes(node)) //    /access, /access/operators, /access/keys, /access/sessions
    .use(operatorRoutes(node)) //  /access/operators/new, …/:id/link, …/:id/removal
    .use(apiKeyRoutes(node)) //    /access/keys/new, …/:id/removal
    .use(sessionRoutes(node)) //   /access/sessions/:id/end, …/others/end
    .use(clusterPageRoutes(node)) // /cluster, /cluster/tickets/new, …/members/:id/removal, …/removed/:id/off
    .use(nodePageRoutes(node)) //  /node
    .use(keyRoutes(node)) //       /node/keys/new, /node/keys/:id/removal
    .use(auditRoutes(node)) //     /audit, /audit/verification, /audit/:sequence
    .use(connectionRoutes(node)) // /connections, /connections/:id/kill

export type Pages = { handle(request: Request): Promise<Response> }
