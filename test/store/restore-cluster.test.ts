import { expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { copyFileSync, cpSync } from 'node:fs'
import { join as path } from 'node:path'
import { limits } from '../../src/limits.ts'
import { adoptRing } from '../../src/store/adopt.ts'
import { ClusterStore } from '../../src/store/cluster.ts'
import { found } from '../../src/store/founding.ts'
import { goBack } from '../../src/store/going-back.ts'
import { openNode, OWNER, pull, stateOf, type TestNode, without } from '../support/replica.ts'
import { backUp, restore } from '../support/replica-backup.ts'
import { tempFolder } from '../support/temp.ts'

const CLUSTER = 'cl_1'
const SECRET = new Uint8Array(32).fill(7)

const addServer = (node: TestNode, name: string) =>
  node.control.add(node.control.draft({ name, url: 'http://127.0.0.1:9', headers: { 'X-Key': 'upstream' } }), OWNER)

const issue = (node: TestNode, name: string, subject = `${name}@example.com`) =>
  node.issuance.issue({ name, servers: ['github'], subject, expiresAt: null }, OWNER)

const revoke = (node: TestNode, subject: string) =>
  node.revocations.revoke({ subject: `${subject}@example.com`, reason: 'other' }, OWNER, 0)

const isLive = ({ tokens, store }: TestNode, secret: string) =>
  tokens.findSecret(secret, store.keys)?.token.revokedAt === null

const clusterOf = (node: TestNode) => new ClusterStore(node.store)

const begin = async (node: TestNode) => {
  await found(node, limits, OWNER)
  node.replica.reload()
  clusterOf(node).create(CLUSTER, false)
  const secret = clusterOf(node).seal(SECRET)
  clusterOf(node).open({ version: 1, ballot: '1', secret })
  clusterOf(node)
    .state<object>(() => null)
    .save({ made: 'before' })
}

const join = (from: TestNode): TestNode => {
  const node = openNode()
  adoptRing(node.store, { database: from.store.database, keys: [...from.store.keys.data.keys] })
  clusterOf(node).create(CLUSTER, true)
  clusterOf(node).open({ version: 1, ballot: '1', secret: clusterOf(from).seal(SECRET) })
  pull(node, from)
  clusterOf(node).setSynced()
  return node
}

/** What a restore must not lose; who died of what is known, in which list it stands may differ. */
const known = (node: TestNode) => {
  const { revocations, ...rest } = stateOf(node)
  return { ...rest, revocations: revocations.map((revocation) => without(revocation, 'dead')) }
}

const reopened = (node: TestNode): TestNode => {
  node.close()
  return openNode(node.folder)
}

test('an old backup on one node: all that it knew is there again, what it had told nobody too', async () => {
  const a = openNode()
  addServer(a, 'github')
  await begin(a)
  const b = join(a)
  const early = issue(a, 'early')
  pull(b, a)
  const backup = await backUp(b)
  const { node: was } = b.store
  const late = issue(a, 'late')
  const doomed = issue(a, 'doomed')
  await revoke(a, 'early')
  pull(b, a)
  // Known to b alone.
  const own = issue(b, 'own')
  await revoke(b, 'doomed')
  b.control.putGate('github', 'closed', 'an incident', OWNER)
  b.issuance.setPolicy(own.token, { callsPerMinute: 3 }, OWNER)
  const before = known(b)
  const { publicKey } = clusterOf(b).identity() ?? {}
  clusterOf(b)
    .state<object>(() => null)
    .save({ made: 'since' })
  b.close()
  const { merged } = restore(backup, b.folder)
  expect(merged).toMatchObject({ facts: 7, gone: [] })
  const again = openNode(b.folder)
  expect(again.carried).toBe(7)
  expect(known(again)).toEqual(before)
  expect([early, late, doomed, own].map(({ secret }) => isLive(again, secret))).toEqual([false, true, false, true])
  // Another node, which says whose place it takes, with a key of its own, and what it last knew of its cluster.
  const identity = clusterOf(again).identity()
  expect(identity).toMatchObject({ clusterId: CLUSTER, formerly: [was], fresh: true, retired: true })
  expect(again.store.node).not.toBe(was)
  expect(identity?.publicKey).not.toBe(publicKey as string)
  expect(clusterOf(again).secrets()).toEqual([{ version: 1, secret: SECRET }])
  expect(
    clusterOf(again)
      .state<object>(() => null)
      .load(),
  ).toEqual({ made: 'since' })
  // What b never sent reaches a, numbered as b numbered it.
  const reach = a.replica.vector[was] ?? [0, 0]
  expect(pull(a, again)).toBeGreaterThan(0)
  expect(a.replica.vector[was]).not.toEqual(reach)
  expect(known(a)).toEqual(before)
  // Nothing waits any more.
  const last = reopened(again)
  expect(last.carried).toBe(0)
  clusterOf(last).setSynced()
  expect(clusterOf(last).identity()).toMatchObject({ formerly: [], fresh: false, retired: false })
  last.close()
  a.close()
})

test('a backup of before the founding, over a member: its numbers mean nothing any more', async () => {
  const a = openNode()
  addServer(a, 'github')
  const [early, doomed] = [issue(a, 'early'), issue(a, 'doomed')]
  await revoke(a, 'doomed')
  // Lives, though its subject was revoked before it was issued.
  const after = issue(a, 'after', 'doomed@example.com')
  const backup = await backUp(a)
  const rotated = issue(a, 'rotated')
  await begin(a)
  const b = join(a)
  await revoke(b, 'early')
  pull(a, b)
  const second = a.issuance.rotate(rotated.token, 0, OWNER)
  const before = known(a)
  const { vector } = a.replica
  a.close()
  expect(restore(backup, a.folder).merged?.facts).toBeGreaterThan(5)
  const again = openNode(a.folder)
  expect(again.replica.vector).toEqual(vector)
  expect(known(again)).toEqual(before)
  expect([early, doomed, after].map(({ secret }) => isLive(again, secret))).toEqual([false, false, true])
  const { tokens, store } = again
  expect(tokens.findSecret(second, store.keys)?.diesAt).toBeNull()
  expect(tokens.findSecret(rotated.secret, store.keys)?.diesAt).toBeLessThan(0)
  pull(again, b)
  pull(b, again)
  expect(known(b)).toEqual(known(again))
  again.close()
  b.close()
})

test('a whole cluster out of backups of different ages, on empty machines: what any of them knew dead is dead', async () => {
  const a = openNode()
  addServer(a, 'github')
  await begin(a)
  const b = join(a)
  const tokens = ['one', 'two', 'three'].map((name) => issue(a, name))
  pull(b, a)
  const oldBackup = await backUp(a)
  await revoke(b, 'one')
  const concurrent = issue(b, 'four', 'two@example.com')
  const newBackup = await backUp(b)
  // After both backups, and known to nobody any more.
  await revoke(a, 'three')
  a.close()
  b.close()
  const folders = [oldBackup, newBackup].map((backup) => {
    const folder = tempFolder()
    expect(restore(backup, folder).merged).toBeNull()
    return folder
  })
  const [c, d] = folders.map((folder) => openNode(folder)) as [TestNode, TestNode]
  for (const [node, was] of [
    [c, a],
    [d, b],
  ] as const) {
    // Whether the machine that the backup is of still runs, nobody knows.
    const identity = { clusterId: CLUSTER, formerly: [was.store.node], fresh: true, retired: false }
    expect(clusterOf(node).identity()).toMatchObject(identity)
  }
  await revoke(c, 'two')
  pull(c, d)
  pull(d, c)
  expect(known(c)).toEqual(known(d))
  const live = [...tokens, concurrent].map(({ secret }) => isLive(c, secret))
  // What was issued without knowledge of the revocation dies with the others.
  expect(live).toEqual([false, false, true, false])
  c.close()
  d.close()
})

test('restored twice before a start: both times all is kept', async () => {
  const a = openNode()
  addServer(a, 'github')
  await begin(a)
  const backup = await backUp(a)
  const { node: was } = a.store
  issue(a, 'one')
  await revoke(a, 'one')
  const before = known(a)
  a.close()
  expect(restore(backup, a.folder).merged?.facts).toBe(2)
  expect(restore(backup, a.folder).merged?.facts).toBe(2)
  const again = openNode(a.folder)
  expect(known(again)).toEqual(before)
  const identity = clusterOf(again).identity()
  expect(identity?.formerly.at(-1)).toBe(was)
  expect(identity?.retired).toBe(true)
  again.close()
})

test('a copied folder is another node, that must learn all and does not take a place by itself', async () => {
  const a = openNode()
  await begin(a)
  const own = clusterOf(a).identity()
  a.close()
  const folder = tempFolder()
  cpSync(a.folder, folder, { recursive: true })
  const copy = openNode(folder)
  const copied = clusterOf(copy).identity()
  expect(copied).toMatchObject({ clusterId: CLUSTER, formerly: [a.store.node], fresh: true, retired: false })
  expect(copied?.publicKey).not.toBe(own?.publicKey as string)
  const back = openNode(a.folder)
  expect(back.store.node).toBe(a.store.node)
  expect(clusterOf(back).identity()).toEqual(own)
  // A machine that was rolled back to a snapshot asks for another identity.
  clusterOf(back).forgetIdentity()
  const next = reopened(back)
  expect(next.store.node).not.toBe(a.store.node)
  expect(clusterOf(next).identity()).toMatchObject({ formerly: [a.store.node], fresh: true })
  next.close()
  copy.close()
})

test('what a node knows of its cluster opens with whatever key of the ring is left', async () => {
  const a = openNode()
  await begin(a)
  const identity = clusterOf(a).identity()
  const old = a.store.keys.current
  a.keys.rotate(OWNER)
  await a.keys.remove(old, false, OWNER, 0)
  const again = reopened(a)
  expect(clusterOf(again).identity()).toEqual(identity)
  expect(clusterOf(again).secrets()).toEqual([{ version: 1, secret: SECRET }])
  // Told to a node that was removed, a membership holds no secret.
  expect(clusterOf(again).open({ version: 2, ballot: '1', secret: '' })).toBeNull()
  const values = JSON.stringify(again.store.client.query("SELECT value FROM meta WHERE key LIKE 'cluster.%'").all())
  expect(values).not.toContain(Buffer.from(SECRET).toString('base64'))
  expect(values).not.toContain(Buffer.from(identity?.privateKey ?? []).toString('base64'))
  again.close()
})

test('of the secrets of a cluster the newest are kept', async () => {
  const a = openNode()
  await begin(a)
  const cluster = clusterOf(a)
  for (let version = 2; version <= limits.clusterSecretsMax + 1; version += 1)
    cluster.open({ version, ballot: '1', secret: cluster.seal(SECRET) })
  const versions = cluster.secrets().map(({ version }) => version)
  expect(versions).toHaveLength(limits.clusterSecretsMax)
  expect(versions[0]).toBe(limits.clusterSecretsMax + 1)
  expect(versions).not.toContain(1)
  a.close()
})

test('a member does not go back to a version that knows no clusters; alone it may', async () => {
  const a = openNode()
  const putBack = () => {
    a.store.client.run('PRAGMA wal_checkpoint(TRUNCATE)')
    const copy = path(tempFolder(), 'portcullis.db.before-0.5.0')
    copyFileSync(a.files.database, copy)
    const client = new Database(copy)
    client.run('PRAGMA journal_mode = DELETE')
    client.run('DELETE FROM __drizzle_migrations WHERE created_at = (SELECT max(created_at) FROM __drizzle_migrations)')
    for (const table of ['carried', 'registers', 'parked']) client.run(`DROP TABLE ${table}`)
    client.close()
    return copy
  }
  const copy = putBack()
  await begin(a)
  a.close()
  const options = { folder: a.folder, keyFile: a.files.key, version: '0.6.0', actor: 'local:0', now: () => Date.now() }
  expect(() => goBack(copy, options)).toThrow('knows no clusters')
  const again = openNode(a.folder)
  expect(clusterOf(again).identity()?.clusterId).toBe(CLUSTER)
  again.store.client.run("DELETE FROM meta WHERE key LIKE 'cluster.%'")
  again.close()
  expect(goBack(copy, options).merged?.facts).toBe(0)
})

const MEMBERS = { memberships: [{ members: [{ name: 'a' }, { name: 'b' }] }] }

/** A member's backup, and what it holds. */
const backedUp = async () => {
  const a = openNode()
  addServer(a, 'github')
  await begin(a)
  clusterOf(a)
    .state<object>(() => null)
    .save(MEMBERS)
  const [live, dead] = [issue(a, 'live'), issue(a, 'dead')]
  await revoke(a, 'dead')
  const backup = await backUp(a)
  const { node: was } = a.store
  a.close()
  return { backup, was, live, dead }
}

test('into an empty folder: what it was may run, unless it is said that nothing of before does', async () => {
  const { backup, was } = await backedUp()
  const cluster = { members: ['a', 'b'] }
  const folders = [tempFolder(), tempFolder()] as const
  expect(restore(backup, folders[0])).toMatchObject({ merged: null, cluster: { ...cluster, retired: false } })
  expect(restore(backup, folders[1], { wholeCluster: true })).toMatchObject({ cluster: { ...cluster, retired: true } })
  const nodes = folders.map((folder) => openNode(folder))
  const identities = nodes.map((node) => clusterOf(node).identity())
  expect(identities[0]).toMatchObject({ formerly: [was], fresh: true, retired: false })
  expect(identities[1]).toMatchObject({ formerly: [was], fresh: true, retired: true })
  expect(identities[0]?.publicKey).not.toBe(identities[1]?.publicKey as string)
  // Once it is one of them by its own id, a backup of it is another's again.
  const second = nodes[1] as TestNode
  clusterOf(second).setSynced()
  const later = await backUp(second)
  expect(restore(later, tempFolder())).toMatchObject({ cluster: { retired: false } })
  for (const node of nodes) node.close()
})

test('alone, out of the only backup: in no cluster, the dead stay dead, and others can join it anew', async () => {
  const { backup, live, dead } = await backedUp()
  const folder = tempFolder()
  expect(restore(backup, folder, { alone: true })).toMatchObject({ cluster: null })
  const node = openNode(folder)
  expect(clusterOf(node).identity()).toBeNull()
  expect(clusterOf(node).secrets()).toEqual([])
  await begin(node)
  const joiner = join(node)
  for (const one of [node, joiner]) expect([live, dead].map(({ secret }) => isLive(one, secret))).toEqual([true, false])
  expect(Object.keys(joiner.replica.vector)).toEqual([node.store.node])
  node.close()
  expect(() => restore(backup, folder, { alone: true })).toThrow('--alone')
  joiner.close()
})
