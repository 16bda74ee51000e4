/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import type { PastedSecret } from '../../search.ts'
import { statusOf, type Token } from '../../token.ts'
import { Found, type FoundCard, FindPage, type FoundToken } from '../../views/found.tsx'
import { FORM, formOf } from './form.ts'
import { frameOf, isScript, page, partial } from './page.ts'
import { personOf } from './person.ts'
import { mayAct } from './rights.ts'

const tokenCard = (node: Node, token: Token): FoundToken => ({
  id: token.id,
  name: token.name,
  subject: token.subject,
  status: statusOf(token, node.now()),
  connections: node.registry.ofToken(token.id).size,
})

const WHY = {
  unknown: 'No token and no API key here has that secret, dead or alive. It may be of another Portcullis.',
  malformed: 'That looks like a secret, but its checksum is wrong: a character was lost or changed.',
}

const pastedCard = (node: Node, actor: Actor, pasted: PastedSecret): FoundCard['pasted'] => {
  if ('why' in pasted) return { why: WHY[pasted.why] }
  if ('apiKey' in pasted) {
    const { id, name } = pasted.apiKey
    return { apiKey: { id, name }, mayRemove: actor.role === 'owner' && !actor.restricted }
  }
  const { token, diesAt } = pasted.secret
  return { token: tokenCard(node, token), isOld: diesAt !== null && diesAt <= node.now() }
}

const foundCard = async (node: Node, actor: Actor, text: string): Promise<FoundCard> => {
  const pasted = node.search.pasted(text)
  const query = pasted ? '' : text.trim().slice(0, node.limits.nameLengthMax)
  const found = await node.search.find(query, node.limits.foundPerKindMax)
  return {
    query: { isEmpty: query === '' },
    pasted: pasted && pastedCard(node, actor, pasted),
    tokens: found.tokens.map((token) => tokenCard(node, token)),
    subjects: found.subjects,
    groups: found.groups,
    servers: found.servers.map(({ id, name, state }) => ({
      name,
      state,
      connections: node.registry.ofServer(id).size,
    })),
    more: found.more,
    mayAct: mayAct(actor),
  }
}

/** The palette: what can be killed, by a part of its name or by a leaked secret, which is in no address and no log. */
export const findRoutes = (node: Node) =>
  new Elysia({ name: 'find' })
    .get('/find', async ({ request }) => {
      const { actor } = personOf(request)
      return page(<FindPage frame={frameOf(node, request)} found={await foundCard(node, actor, '')} />)
    })
    .post(
      '/find',
      async ({ request }) => {
        const { actor } = personOf(request)
        const found = await foundCard(node, actor, (await formOf(request)).get('q') ?? '')
        return isScript(request)
          ? partial(<Found found={found} />)
          : page(<FindPage frame={frameOf(node, request)} found={found} />)
      },
      FORM,
    )
