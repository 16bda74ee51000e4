import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import { assetRoutes } from './assets.ts'
import { connectionRoutes } from './connections.ts'
import { failure } from './failure.tsx'
import { homeRoutes } from './home.tsx'
import { revocationRoutes } from './revocations.tsx'
import { setupRoutes } from './setup.tsx'
import { signInRoutes } from './sign-in.tsx'
import { tokenRoutes } from './tokens.tsx'

/** The pages of the console. Every route but the first three groups asks who is signed in. */
export const createPages = (node: Node) =>
  new Elysia({ normalize: false })
    .onError(({ error, request }) => failure(node, request, error))
    .use(assetRoutes()) //         /assets/…
    .use(setupRoutes(node)) //     /setup
    .use(signInRoutes(node)) //    /sign-in, /sign-out
    .use(homeRoutes(node)) //      /, /live
    .use(tokenRoutes(node)) //     /tokens/new, /tokens/:id
    .use(revocationRoutes(node)) // /revocations, /revocations/new, /revocations/:id
    .use(connectionRoutes(node)) // /connections/:id/kill

export type Pages = { handle(request: Request): Promise<Response> }
