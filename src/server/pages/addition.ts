import type { ServerRequest } from '../../control.ts'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import type { Upstream } from '../../upstream.ts'
import { keepMade, madeBefore } from './made.ts'
import { serverHref } from '../../views/server-cells.tsx'

/** `silent`: it was not added, since it did not answer; `say` is why. */
type Addition = { added: Upstream } | { silent: Upstream; say: string }

/** Looks at a server and adds it; the same form sent twice adds one. What is added all the same is looked at by itself soon. */
export const addServer = async (
  node: Node,
  actor: Actor,
  fields: URLSearchParams,
  wanted: ServerRequest,
): Promise<Addition> => {
  const before = () => node.servers.byId.get(madeBefore(node, actor, fields) ?? '')
  const made = before()
  if (made) return { added: made }
  const server = node.control.draft(wanted)
  if (fields.get('anyway') !== 'yes') {
    const { reachable, detail, path } = await node.health.look(server)
    if (!reachable) return { silent: server, say: `${wanted.name} does not answer: ${detail.replace(/\.$/, '')}.` }
    if (server.path === '') server.path = path
    // Sent twice, the second may have been looking while the first was added.
    const meanwhile = before()
    if (meanwhile) return { added: meanwhile }
  }
  node.control.add(server, actor)
  keepMade(node, actor, fields, server.id, serverHref(server.name))
  return { added: server }
}
