/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import { conflict, notFound } from '../../error.ts'
import type { Node } from '../../node.ts'
import { requireRole } from '../../operator.ts'
import type { Connection } from '../../registry.ts'
import { formatTime } from '../../time.ts'
import { statusOf, type Token } from '../../token.ts'
import { KeyRemovalPage, type RingKeyCard, RotatePage } from '../../views/keys.tsx'
import { FORM, formOf } from './form.ts'
import { keepMade, madeBefore } from './made.ts'
import { frameOf, page, seeOther } from './page.ts'
import { personOf } from './person.ts'

/** The ring, the newest key first. */
export const ringCards = async (node: Node): Promise<RingKeyCard[]> =>
  (await node.keys.list())
    .map((key) => ({
      ...key,
      createdAt: formatTime(key.createdAt),
      apiKeys: node.apiKeys.under(key.id).length,
    }))
    .toReversed()

/** Live connections of live tokens with a secret in use under that key. */
const connectionsUnder = (node: Node, keyId: string): number => {
  const now = node.now()
  const isUnder = ({ secrets }: Token) =>
    secrets.some((secret) => secret.keyId === keyId && (secret.diesAt ?? Infinity) > now)
  const isLive = ({ secret: { token } }: Connection) => statusOf(token, now) === 'active' && isUnder(token)
  return [...node.registry.all()].filter(isLive).length
}

/** The keys of the ring: rotated and removed. */
export const keyRoutes = (node: Node) => {
  const cardOf = async (id: string): Promise<RingKeyCard> => {
    const card = (await ringCards(node)).find((key) => key.id === id)
    if (!card) throw notFound('the ring has no key of that id')
    if (card.current) throw conflict('that is the current key: rotate first')
    return card
  }

  const removalPage = (request: Request, ringKey: RingKeyCard, status = 200) =>
    page(
      <KeyRemovalPage
        frame={frameOf(node, request)}
        ringKey={ringKey}
        connections={connectionsUnder(node, ringKey.id)}
      />,
      status,
    )

  return new Elysia({ name: 'key-pages' })
    .get('/node/keys/new', ({ request }) => {
      requireRole(personOf(request).actor, 'owner')
      return page(<RotatePage frame={frameOf(node, request)} formId={crypto.randomUUID()} />)
    })
    .post(
      '/node/keys/new',
      async ({ request }) => {
        const { actor } = personOf(request)
        requireRole(actor, 'owner')
        const fields = await formOf(request)
        const made = madeBefore(node, actor, fields)
        if (made !== null) return seeOther(`/node?made=${made}`)
        const { id } = node.keys.rotate(actor)
        keepMade(node, actor, fields, id, '/node')
        return seeOther(`/node?made=${id}`)
      },
      FORM,
    )
    .get('/node/keys/:id/removal', async ({ request, params }) => {
      requireRole(personOf(request).actor, 'owner')
      return removalPage(request, await cardOf(params.id))
    })
    .post(
      '/node/keys/:id/removal',
      async ({ request, params }) => {
        const { actor, arrivedAt } = personOf(request)
        requireRole(actor, 'owner')
        const ringKey = await cardOf(params.id)
        const agreed = (await formOf(request)).get('revoke')
        const isUsed = ringKey.liveTokens + ringKey.apiKeys > 0
        // More would die than was agreed to, or where nothing was said to die: it is asked again.
        if (isUsed && agreed !== `${ringKey.liveTokens} ${ringKey.apiKeys}`) return removalPage(request, ringKey, 409)
        const receipt = await node.keys.remove(ringKey.id, isUsed, actor, arrivedAt)
        if (receipt) await node.cluster.settled(receipt.id, node.limits.ackWaitMs)
        return seeOther(receipt ? `/revocations/${receipt.id}` : `/node?gone=${encodeURIComponent(ringKey.id)}`)
      },
      FORM,
    )
}
