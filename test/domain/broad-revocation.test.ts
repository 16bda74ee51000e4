import { expect, test } from 'bun:test'
import { NOBODY } from '../../src/cluster-view.ts'
import { openNode, OWNER, type TestNode } from '../support/replica.ts'

const withToken = (clustered: boolean): { node: TestNode; id: string } => {
  const node = openNode(undefined, undefined, { ...NOBODY, clustered })
  node.control.add(node.control.draft({ name: 'github', url: 'http://127.0.0.1:9' }), OWNER)
  const request = { name: 'one', servers: ['github'], subject: 'ada@example.com', expiresAt: null }
  return { node, id: node.issuance.issue(request, OWNER).token.id }
}

const revocations = ({ revocationStore }: TestNode) => revocationStore.page(10, null).map(({ id }) => id)

test('in a cluster whoever may live on another node is told of, though nobody here is named', async () => {
  const { node, id } = withToken(true)
  const first = await node.revocations.revoke({ subject: 'ada@example.com', reason: 'other' }, OWNER, 0)
  expect(first.tokens).toHaveLength(1)
  const again = await node.revocations.revoke({ subject: 'ada@example.com', reason: 'other' }, OWNER, 0)
  expect(again.tokens).toEqual([])
  expect(revocations(node)).toEqual([again.id, first.id])
  const [{ n }] = node.store.client.query("SELECT count(*) AS n FROM facts WHERE kind = 'token.revoke'").all() as [
    { n: number },
  ]
  expect(n).toBe(2)
  // By its id a token is known here, and a try changes nothing.
  await node.revocations.revoke({ tokens: [id], reason: 'other' }, OWNER, 0)
  await node.revocations.revoke({ subject: 'ada@example.com', reason: 'other', dryRun: true }, OWNER, 0)
  expect(revocations(node)).toEqual([again.id, first.id])
  node.close()
})

test('alone nothing is written twice', async () => {
  const { node } = withToken(false)
  const first = await node.revocations.revoke({ subject: 'ada@example.com', reason: 'other' }, OWNER, 0)
  const again = await node.revocations.revoke({ subject: 'ada@example.com', reason: 'other' }, OWNER, 0)
  expect(again.tokens).toEqual([])
  expect(revocations(node)).toEqual([first.id])
  node.close()
})
