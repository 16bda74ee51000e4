import { afterAll, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { portcullis } from '../cli/run.ts'
import { startCluster, type TestCluster, type TestMember } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { startStreamUpstream } from '../support/stream-upstream.ts'
import { tempFolder } from '../support/temp.ts'

/** Backups of a cluster, put back on one node or on all: what any node knew to be dead stays dead. Real processes. */

const upstream = startStreamUpstream()
afterAll(() => upstream.stop())
const folder = tempFolder()

const cli = async (...args: string[]) => {
  const { code, stdout, stderr } = await portcullis(args)
  if (code !== 0) throw new Error(`portcullis ${args.join(' ')}: ${code} ${stderr}`)
  return stdout
}

const backUp = async (member: TestMember, name: string) => {
  const file = join(folder, name)
  await cli('backup', file, '--data', member.data)
  return file
}

const wipe = ({ data }: TestMember) => rmSync(data, { recursive: true, force: true })

const ask = (member: TestMember, token: string) =>
  fetch(`${member.running.gate}/s/live/once`, { headers: { authorization: `Bearer ${token}` } }).then(
    ({ status }) => status,
  )

/** Asks all the time, from before they can answer until they let a live token in: a dead one must never pass. */
const neverPasses = async (members: readonly TestMember[], dead: readonly string[], alive: string) => {
  const seen = new Set<number>()
  await eventually(
    async () => {
      let serving = 0
      for (const member of members) {
        for (const token of dead) seen.add(await ask(member, token))
        if ((await ask(member, alive)) === 200) serving += 1
      }
      return serving === members.length
    },
    { timeoutMs: 30_000, everyMs: 5, what: 'all let the live token in' },
  )
  for (const member of members) for (const token of dead) expect(await ask(member, token)).toBe(401)
  expect([...seen].filter((status) => status !== 401 && status !== 503)).toEqual([])
}

const world = async (): Promise<{ cluster: TestCluster; members: [TestMember, TestMember, TestMember] }> => {
  const cluster = await startCluster(3)
  const members = cluster.members as [TestMember, TestMember, TestMember]
  await members[0].running.addServer('live', upstream.url, { kind: 'http' })
  return { cluster, members }
}

test('an old backup restored on one node, over its folder: it is back as itself, and revives nobody', async () => {
  const { cluster, members } = await world()
  await using _ = cluster
  const [a, , c] = members
  const leaked = await a.running.createToken('leaked', ['live'])
  const alive = await a.running.createToken('alive', ['live'])
  const file = await backUp(c, 'one-in-place')
  await a.running.revoke({ tokens: [leaked.id] })
  await c.stop()
  const said = await cli('restore', file, '--data', c.data)
  expect(said).toContain('cluster')
  await c.start()
  await neverPasses([c], [leaked.token], alive.token)
  await cluster.settled(20_000)
  const status = await a.status()
  expect(status.clustered && status.members.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
}, 90_000)

test('what a node revoked while nobody heard it is told after its restore', async () => {
  const { cluster, members } = await world()
  await using _ = cluster
  const [a, b, c] = members
  const leaked = await a.running.createToken('leaked', ['live'])
  const alive = await a.running.createToken('alive', ['live'])
  const file = await backUp(c, 'untold')
  await Promise.all([a.stop(), b.stop()])
  const receipt = await c.running.revoke({ tokens: [leaked.id] })
  expect(receipt.complete).toBe(false)
  await c.stop()
  await cli('restore', file, '--data', c.data)
  await Promise.all([a.start(), b.start(), c.start()])
  await neverPasses([c], [leaked.token], alive.token)
  for (const member of [a, b]) await eventually(async () => (await ask(member, leaked.token)) === 401)
}, 90_000)

test('an old backup on a new machine, in place of one that is lost', async () => {
  const { cluster, members } = await world()
  await using _ = cluster
  const [a, , c] = members
  const leaked = await a.running.createToken('leaked', ['live'])
  const alive = await a.running.createToken('alive', ['live'])
  const file = await backUp(c, 'one-empty')
  await a.running.revoke({ tokens: [leaked.id] })
  await c.kill()
  wipe(c)
  await cli('restore', file, '--data', c.data)
  await c.start()
  await neverPasses([c], [leaked.token], alive.token)
}, 90_000)

test('a whole cluster from backups of different ages finds together again, and revives nobody whom one of them knew dead', async () => {
  const { cluster, members } = await world()
  await using _ = cluster
  const [a, b, c] = members
  const [one, two] = [await a.running.createToken('one', ['live']), await b.running.createToken('two', ['live'])]
  const alive = await a.running.createToken('alive', ['live'])
  const oldest = await backUp(c, 'oldest')
  await a.running.revoke({ tokens: [one.id] })
  const middle = await backUp(a, 'middle')
  await c.running.revoke({ tokens: [two.id] })
  const newest = await backUp(b, 'newest')
  await Promise.all(members.map((member) => member.kill()))
  for (const [member, file] of [
    [a, middle],
    [b, newest],
    [c, oldest],
  ] as const) {
    wipe(member)
    await cli('restore', file, '--data', member.data, '--whole-cluster')
  }
  await Promise.all(members.map((member) => member.start()))
  await neverPasses(members, [one.token, two.token], alive.token)
  await cluster.settled(30_000)
}, 120_000)

test('one of a whole cluster has a backup of before another joined, and without the word of its operator waits', async () => {
  await using cluster = await startCluster(2)
  const [a, b] = cluster.members as [TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  const alive = await a.running.createToken('alive', ['live'])
  const leaked = await a.running.createToken('leaked', ['live'])
  const ofTwo = await backUp(a, 'of-two')
  const c = await cluster.join()
  await cluster.settled()
  await c.running.revoke({ tokens: [leaked.id] })
  await cluster.spread()
  const [ofB, ofC] = [await backUp(b, 'b-of-three'), await backUp(c, 'c-of-three')]
  const members = [a, b, c]
  await Promise.all(members.map((member) => member.kill()))
  members.forEach(wipe)
  await cli('restore', ofB, '--data', b.data, '--whole-cluster')
  expect(await cli('restore', ofC, '--data', c.data, '--whole-cluster')).toContain('cluster of a, b, c')
  const said = await cli('restore', ofTwo, '--data', a.data)
  expect(said).toContain('cluster of a, b, and')
  expect(said).toContain('--whole-cluster')
  await a.start()
  await eventually(() => a.running.stderr().includes('restore every node from its own backup with --whole-cluster'))
  expect(await ask(a, alive.token)).toBe(503)
  await a.stop()
  wipe(a)
  await cli('restore', ofTwo, '--data', a.data, '--whole-cluster')
  await Promise.all(members.map((member) => member.start()))
  await neverPasses(members, [leaked.token], alive.token)
  await cluster.settled(30_000)
}, 120_000)

test('out of the only backup one node goes on by itself, and others join it anew', async () => {
  await using cluster = await startCluster(2)
  const [a, b] = cluster.members as [TestMember, TestMember]
  await a.running.addServer('live', upstream.url, { kind: 'http' })
  const alive = await a.running.createToken('alive', ['live'])
  const leaked = await b.running.createToken('leaked', ['live'])
  await b.running.revoke({ tokens: [leaked.id] })
  await cluster.spread()
  const only = await backUp(b, 'only')
  for (const member of [a, b]) {
    await member.kill()
    wipe(member)
  }
  expect((await portcullis(['restore', only, '--data', a.data, '--alone', '--whole-cluster'])).code).toBe(2)
  await cli('restore', only, '--data', a.data, '--alone')
  await a.start()
  await neverPasses([a], [leaked.token], alive.token)
  expect(await a.status()).toMatchObject({ clustered: false })
  const c = await cluster.join()
  await neverPasses([c], [leaked.token], alive.token)
  await cluster.settled()
}, 90_000)
