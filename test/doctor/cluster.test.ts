import { expect, test } from 'bun:test'
import { startCluster, type TestMember } from '../support/cluster.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { diagnose } from './run.ts'

const found = async ({ data }: { data: string }) => (await diagnose(['--data', data])).of('cluster')

test('of a node that stands alone nothing is said', async () => {
  await using node = await startNode()
  expect(await found(node)).toEqual([])
})

test('of a member: that all are linked; or who is not, what that means, and what to do', async () => {
  await using cluster = await startCluster(2)
  const [a, b] = cluster.members as [TestMember, TestMember]
  expect(await found(a)).toEqual([
    { check: 'cluster', level: 'ok', ok: true, finding: '2 members, all linked', todo: '' },
  ])
  await a.running.addServer('one', 'http://127.0.0.1:1')
  await a.running.createToken('first', ['one'])
  await b.kill()
  await a.running.revoke({ tokens: ['first'] })
  const said = await eventually(async () => {
    const findings = await found(a)
    return findings.length === 3 && findings
  })
  expect(said.map(({ level, finding }) => [level, finding])).toEqual([
    ['fail', 'no majority of the members can be reached: it hears of no revocation'],
    ['warn', `can't be reached: b (${b.url})`],
    ['warn', '1 revocation is not known to hold on all nodes'],
  ])
  for (const { todo } of said) expect(todo).toContain('portcullis cluster')
}, 30_000)
