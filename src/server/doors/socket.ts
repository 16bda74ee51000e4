import type { Node } from '../../node.ts'
import type { Api } from '../app.ts'
import { idempotent } from '../api/idempotency.ts'
import { admit } from '../context.ts'
import { problem, problemFor } from '../errors.ts'

/** The command line's way in: whoever may open the socket is the owner. The name is as it states it. */
export const socketDoor = (node: Node, api: Api) => {
  const answerOnce = idempotent(node)
  return async (request: Request): Promise<Response> => {
    const arrivedAt = performance.now()
    const stated = request.headers.get('x-portcullis-actor') ?? ''
    const name = /^local:\d{1,10}$/.test(stated) ? stated : 'local:unknown'
    admit(request, { actor: { name, role: 'owner' }, address: 'local', arrivedAt, session: null, client: null })
    const { pathname } = new URL(request.url)
    if (!pathname.startsWith('/api/')) return problem(404, 'not-found', 'the control socket serves /api/v1 only')
    try {
      return await answerOnce(request, (asked) => api.handle(asked))
    } catch (error) {
      return problemFor(error, (unknown) => node.log.error({ err: unknown }, 'a request of the control socket failed'))
    }
  }
}
