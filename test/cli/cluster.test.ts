import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type {
  ClusteredJson,
  ClusterTicketJson,
  MemberRemovedJson,
  RevocationJson,
} from '../../src/server/api/schemas.ts'
import { TestCluster, type TestMember } from '../support/cluster.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { documentOf, portcullis } from './run.ts'

const commands =
  ({ data }: { data: string }) =>
  (...args: string[]) =>
    portcullis(['--data', data, ...args])

test('a node that listens for no other says what to do, and makes no ticket', async () => {
  await using node = await startNode({ args: ['--node-name', 'lonely'] })
  const cli = commands(node)
  const status = await cli('cluster', 'status')
  expect([status.code, status.stdout]).toEqual([
    0,
    expect.stringContaining('Node lonely stands alone') as unknown as string,
  ])
  expect(documentOf(await cli('cluster', 'status', '--json'))).toMatchObject({
    clustered: false,
    node: { name: 'lonely' },
  })
  for (const args of [['ticket'], ['ticket', '--json'], ['remove', 'lonely']]) {
    const { code, stdout, stderr } = await cli('cluster', ...args)
    expect([args, code, stdout]).toEqual([args, 1, ''])
    expect(stderr).toMatch(args[0] === 'ticket' ? /--cluster-listen/ : /stands alone/)
  }
})

describe('three commands make a cluster', () => {
  const cluster = new TestCluster({})
  let a: TestMember
  let b: TestMember
  beforeAll(async () => {
    a = cluster.member()
    await a.start()
  }, 30_000)
  afterAll(() => cluster[Symbol.asyncDispose]())

  test('what the ticket says to type on the other machine is what joins there', async () => {
    const { code, stdout, stderr } = await commands(a)('cluster', 'ticket')
    expect(code).toBe(0)
    // Its address is one of the loopback.
    expect(stderr).toContain('from this machine alone')
    const [, url = '', ticket = ''] = / --cluster-join (ws:\S+) --ticket (pcj_\S+)$/m.exec(stdout) ?? []
    expect(url).toBe(a.url)
    expect(stdout.split('\n')).toContain(ticket)
    b = cluster.member()
    await b.start('--cluster-join', url, '--ticket', ticket)
    await cluster.settled()
    for (const member of [a, b]) {
      const shown = await commands(member)('cluster', 'status')
      expect([shown.code, shown.stderr]).toEqual([0, ''])
      expect(shown.stdout).toStartWith('OK ')
      expect(shown.stdout).toMatch(member === a ? /^a +this node/m : /^a +linked +\d/m)
      expect(shown.stdout).toMatch(member === a ? /^b +linked +\d/m : /^b +this node/m)
    }

    // Used already: told so, by a node that makes nothing of it.
    const third = cluster.member()
    const refused = await third
      .start('--cluster-join', url, '--ticket', ticket)
      .catch((error: unknown) => String(error))
    expect(refused).toMatch(/ticket.*used/i)
    cluster.members.pop()
    // A member that restarts with it just goes on.
    await b.stop()
    await b.start('--cluster-join', url, '--ticket', ticket)
    await cluster.settled()
  }, 60_000)

  test('the JSON is the one of the API', async () => {
    const made = documentOf<ClusterTicketJson>(await commands(b)('cluster', 'ticket', '--json'))
    expect(made).toEqual({
      ticket: expect.stringMatching(/^pcj_/) as unknown as string,
      expiresAt: expect.stringMatching(/Z$/) as unknown as string,
      url: b.url,
    })
    const status = documentOf<ClusteredJson>(await commands(b)('cluster', 'status', '--json'))
    expect(status.members.map(({ name, state }) => [name, state])).toEqual([
      ['a', 'linked'],
      ['b', 'self'],
    ])
  })

  test('a revocation shows what the other node did; with it away, that it waits, and exits 0 all the same', async () => {
    await a.running.addServer('one', 'http://127.0.0.1:1')
    await a.running.createToken('first', ['one'])
    await a.running.createToken('second', ['one'])
    await eventually(async () => (await commands(b)('token', 'show', 'second')).code === 0)
    const revoke = (name: string, ...more: string[]) => commands(a)('revoke', name, '--reason', 'compromised', ...more)
    const first = await revoke('first')
    expect([first.code, first.stderr]).toEqual([0, ''])
    expect(first.stdout).toMatch(/^node b: acked in [\d.]+ ms, cut 0 connections$/m)
    expect(first.stdout).toMatch(/^Complete: /m)

    await b.kill()
    await eventually(async () => /^b +UNREACHABLE/m.test((await commands(a)('cluster', 'status')).stdout))
    const second = await revoke('second')
    expect([second.code, second.stderr]).toEqual([0, ''])
    expect(second.stdout).toContain('node b: has not acked')
    expect(second.stdout).toContain('NOT COMPLETE: waits for b.')
    expect(second.stdout).not.toMatch(/^Complete/m)
    const status = await commands(a)('cluster', 'status')
    expect(status.stdout).toMatch(/^(?:INCOMPLETE|ISOLATED) /)
    expect(status.stdout).toMatch(/^rev_\w+ +b$/m)
    const again = documentOf<RevocationJson>(await revoke('second', '--json'))
    expect([again.tokens, again.complete]).toEqual([[], false])
  }, 60_000)

  test('a member that is gone is removed; one that is none is not', async () => {
    const cli = commands(a)
    const none = await cli('cluster', 'remove', 'nobody')
    expect([none.code, none.stdout]).toEqual([1, ''])
    expect(none.stderr).toMatch(/no member has that name or id.*cluster status/)
    const refused = await cli('cluster', 'remove', 'b')
    expect([refused.code, refused.stdout]).toEqual([1, ''])
    expect(refused.stderr).toContain('--force')
    const forced = await cli('cluster', 'remove', 'b', '--force')
    expect([forced.code, forced.stderr]).toEqual([0, ''])
    expect(forced.stdout).toContain('portcullis cluster remove b --off')
    expect((await cli('cluster', 'status')).stdout).toMatch(/^b \(ws:.*removed by force and may still run/m)
    const off = documentOf<MemberRemovedJson>(await cli('cluster', 'remove', 'b', '--off', '--json'))
    expect(off).toMatchObject({ name: 'b', off: true })
    await eventually(async () => (await cli('cluster', 'status')).stdout.startsWith('OK '))
  }, 60_000)
})
