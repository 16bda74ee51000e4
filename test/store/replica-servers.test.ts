import { expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import type { Connection, CutCause } from '../../src/registry.ts'
import { adoptRing } from '../../src/store/adopt.ts'
import { found } from '../../src/store/founding.ts'
import type { Secret } from '../../src/token.ts'
import { openNode, OWNER, pull, stateOf, type TestNode } from '../support/replica.ts'

/** Nodes of one cluster, that hear of each other when they are told to. */
const cluster = async (count: number): Promise<[TestNode, TestNode, ...TestNode[]]> => {
  const first = openNode()
  await found(first, limits, OWNER)
  first.replica.reload()
  const others = Array.from({ length: count - 1 }, () => {
    const node = openNode()
    adoptRing(node.store, { database: first.store.database, keys: [...first.store.keys.data.keys] })
    return node
  })
  return [first, ...others] as [TestNode, TestNode, ...TestNode[]]
}

const addServer = (node: TestNode, name: string, headers: Record<string, string> = {}) => {
  const made = node.control.draft({ name, url: `http://127.0.0.1:3001/${name}`, headers })
  node.control.add(made, OWNER)
  return made
}

/** A live connection, and what ended it. */
const connect = (node: TestNode, secret: string, serverName: string) => {
  const found = node.tokens.findSecret(secret, node.store.keys) as Secret
  const ended: CutCause[] = []
  const number = node.registry.nextNumber()
  const connection: Connection = {
    number,
    id: `c${number}`,
    secret: found,
    server: node.servers.byName.get(serverName) as Connection['server'],
    startedAt: 0,
    address: '192.0.2.1',
    method: 'GET',
    path: '/',
    kind: 'sse',
    client: null,
    bytesIn: 0,
    bytesOut: 0,
    end: (cause) => ended.push(cause),
    release: () => {},
  }
  node.registry.add(connection)
  return ended
}

const issue = (node: TestNode, server: string) =>
  node.issuance.issue({ name: `for ${server}`, servers: [server], expiresAt: null }, OWNER)

const sync = (nodes: readonly TestNode[]) => {
  for (const to of [...nodes, ...nodes]) for (const from of nodes) if (to !== from) pull(to, from)
}

const same = (nodes: readonly TestNode[]) => {
  const [first, ...others] = nodes.map(stateOf)
  for (const other of others) expect(other).toEqual(first as NonNullable<typeof first>)
}

const close = (nodes: readonly TestNode[]) => {
  for (const node of nodes) node.close()
}

test('a server that is added, changed, closed, opened and removed on one node is so on all, and its connections end', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  addServer(a, 'github', { Authorization: 'Bearer one' })
  const { secret } = issue(a, 'github')
  pull(b, a)
  expect(b.servers.byName.get('github')?.headers).toEqual([['Authorization', 'Bearer one']])
  const held = connect(b, secret, 'github')
  const server = b.servers.byName.get('github')
  a.control.change('github', { headers: { Authorization: 'Bearer two' } }, OWNER)
  pull(b, a)
  // The same object: connections and the predicate hold on to it.
  expect(b.servers.byName.get('github')).toBe(server as NonNullable<typeof server>)
  expect(server?.headers).toEqual([['Authorization', 'Bearer two']])
  expect(held).toEqual([])
  a.control.kill('github', OWNER)
  pull(b, a)
  expect(held).toEqual(['connection_killed'])
  const again = connect(b, secret, 'github')
  a.control.putGate('github', 'closed', 'an incident', OWNER)
  pull(b, a)
  expect(again).toEqual(['server_closed'])
  expect(server).toMatchObject({ state: 'closed', reason: 'an incident' })
  // Another address must not open it.
  a.control.change('github', { url: 'http://127.0.0.1:3001/other' }, OWNER)
  pull(b, a)
  expect(server).toMatchObject({ state: 'closed', url: new URL('http://127.0.0.1:3001/other') })
  b.control.putGate('github', 'open', undefined, OWNER)
  pull(a, b)
  expect(a.servers.byName.get('github')?.state).toBe('open')
  const last = connect(b, secret, 'github')
  a.control.remove('github', OWNER)
  pull(b, a)
  expect(last).toEqual(['server_closed'])
  expect(b.servers.byName.has('github')).toBe(false)
  same(nodes)
  // The values of headers are in no row, neither here nor there.
  const rows = b.store.client.query('SELECT details FROM audit UNION SELECT payload FROM facts').all()
  expect(JSON.stringify(rows)).not.toContain('Bearer')
  // Who did it and where, on each node.
  const { n } = b.store.client
    .query("SELECT count(*) AS n FROM audit WHERE action = 'server.close' AND actor = ? AND node = ?")
    .get(OWNER.name, a.store.node) as { n: number }
  expect(n).toBe(1)
  close(nodes)
})

test('one connection that is killed on a node ends there alone, whatever has its id elsewhere', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  addServer(a, 'github')
  const { secret } = issue(a, 'github')
  pull(b, a)
  const [here, there] = [connect(a, secret, 'github'), connect(b, secret, 'github')]
  a.control.killConnection('c1', OWNER)
  pull(b, a)
  expect(here).toEqual(['connection_killed'])
  expect(there).toEqual([])
  close(nodes)
})

test('of two changes that did not know each other the later one holds, whichever comes first', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  addServer(a, 'github')
  addServer(a, 'linear')
  sync(nodes)
  a.control.putAllGates('closed', 'everything', OWNER)
  b.control.putGate('github', 'open', undefined, OWNER)
  b.control.change('github', { url: 'http://127.0.0.1:3009' }, OWNER)
  a.control.change('github', { path: '/mcp' }, OWNER)
  pull(c, b)
  pull(c, a)
  pull(a, b)
  pull(b, a)
  same(nodes)
  // One record was about both: of one it was the last word, of the other not.
  const states = ['github', 'linear'].map((name) => c.servers.byName.get(name)?.state)
  expect(states).toEqual(['open', 'closed'])
  expect(c.servers.byName.get('github')).toMatchObject({ path: '/mcp', url: new URL('http://127.0.0.1:3001/github') })
  close(nodes)
})

test('a gate, a removal and a change that come before their server hold once it comes', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  const [github, linear] = [addServer(a, 'github'), addServer(a, 'linear')]
  pull(b, a)
  b.control.putGate('github', 'closed', 'by b', OWNER)
  b.control.remove('linear', OWNER)
  pull(c, b)
  same([b, c])
  // Only what b says, without what a said before it.
  const d = openNode()
  adoptRing(d.store, { database: a.store.database, keys: [...a.store.keys.data.keys] })
  const { facts } = b.replica.behind(a.replica.vector, 1e6)
  expect(facts.map(({ kind }) => kind)).toEqual(['server.close', 'server.remove'])
  d.replica.apply(facts, true)
  expect(d.servers.byId.size).toBe(0)
  pull(d, a)
  expect(d.servers.byId.get(github.id)).toMatchObject({ state: 'closed', reason: 'by b' })
  expect(d.servers.byId.get(linear.id)?.removedAt).not.toBeNull()
  expect(d.servers.byName.has('linear')).toBe(false)
  same([b, d])
  close([...nodes, d])
})

test('two servers of one name: the first made is behind the gate, both are shown, and what ends one ends both', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  const first = addServer(a, 'github')
  const second = addServer(b, 'github')
  const [old, young] = [issue(a, 'github'), issue(b, 'github')]
  sync(nodes)
  same(nodes)
  for (const { servers } of nodes) {
    expect(servers.byName.get('github')?.id).toBe(first.id)
    expect(servers.sorted().map(({ id }) => id)).toEqual([first.id, second.id])
  }
  expect(() => addServer(a, 'github')).toThrow('has that name already')
  a.control.putGate('github', 'closed', undefined, OWNER)
  sync(nodes)
  for (const { servers } of nodes) expect(servers.live().map(({ state }) => state)).toEqual(['closed', 'closed'])
  // Two live tokens have the name too.
  expect(
    b.tokens
      .named('for github', Date.now())
      .map(({ id }) => id)
      .toSorted(),
  ).toEqual([old.token.id, young.token.id].toSorted())
  const receipt = await b.revocations.revoke({ server: 'github', reason: 'policy' }, OWNER, 0)
  expect(receipt.selector.server).toEqual([first.id, second.id])
  expect(receipt.tokens).toHaveLength(2)
  sync(nodes)
  for (const { tokens } of nodes) expect([...tokens].every(({ revokedAt }) => revokedAt !== null)).toBe(true)
  b.control.remove('github', OWNER)
  sync(nodes)
  for (const { servers } of nodes) expect(servers.live()).toEqual([])
  same(nodes)
  close(nodes)
})

test('when one of two servers of one name goes, the other is behind the gate', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  const first = addServer(a, 'github')
  // Removed where the other one is not known.
  a.control.remove('github', OWNER)
  const second = addServer(b, 'github')
  sync(nodes)
  for (const { servers } of nodes) expect(servers.byName.get('github')?.id).toBe(second.id)
  expect(b.servers.byId.get(first.id)?.removedAt).not.toBeNull()
  same(nodes)
  close(nodes)
})

test('a key that is added or removed on one node is so on all, and credentials open under any of them', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  addServer(a, 'github', { Authorization: 'Bearer one' })
  addServer(a, 'linear', { Authorization: 'Bearer three' })
  sync(nodes)
  const old = a.store.keys.current
  const key = a.keys.rotate(OWNER)
  a.control.change('github', { headers: { Authorization: 'Bearer two' } }, OWNER)
  const made = issue(a, 'github')
  sync(nodes)
  same(nodes)
  expect(b.store.keys.current).toBe(key.id)
  expect(b.tokens.findSecret(made.secret, b.store.keys)?.token.id).toBe(made.token.id)
  expect(c.servers.byName.get('github')?.headers).toEqual([['Authorization', 'Bearer two']])
  // Nowhere in the clear.
  const secret = Buffer.from(key.secret).toString('base64')
  expect(JSON.stringify(b.store.client.query('SELECT payload FROM facts').all())).not.toContain(secret)
  await b.keys.remove(old, false, OWNER, 0)
  sync(nodes)
  same(nodes)
  for (const { store } of nodes) expect(store.keys.ids).toEqual([key.id])
  // Who joins now has no key for what was told under the old one.
  const d = openNode()
  adoptRing(d.store, { database: a.store.database, keys: [...c.store.keys.data.keys] })
  pull(d, c)
  same([a, d])
  d.close()
  // And all of it is on the disk.
  for (const node of [b, c]) {
    const before = stateOf(node)
    node.close()
    const again = openNode(node.folder)
    expect(stateOf(again)).toEqual(before)
    again.close()
  }
  a.close()
})

test('a server that is told under a key which is still on its way waits for it', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  a.keys.rotate(OWNER)
  pull(b, a)
  addServer(b, 'github', { Authorization: 'Bearer one' })
  const { facts } = b.replica.behind(a.replica.vector, 1e6)
  c.replica.apply(facts, true)
  expect(c.servers.byName.has('github')).toBe(false)
  pull(c, a)
  expect(c.servers.byName.get('github')?.headers).toEqual([['Authorization', 'Bearer one']])
  sync(nodes)
  same(nodes)
  close(nodes)
})

test('a removal of a key that comes before the key in its place waits for it', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  addServer(a, 'github', { Authorization: 'Bearer one' })
  sync(nodes)
  const old = a.store.keys.current
  const key = a.keys.rotate(OWNER)
  pull(b, a)
  await b.keys.remove(old, false, OWNER, 0)
  c.replica.apply(b.replica.behind(a.replica.vector, 1e6).facts, true)
  expect(c.store.keys.ids).toEqual([old])
  pull(c, a)
  expect(c.store.keys.ids).toEqual([key.id])
  sync(nodes)
  same(nodes)
  close(nodes)
})

test('two keys that were made at once leave one ring, with one current key', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  a.keys.rotate(OWNER)
  b.keys.rotate(OWNER)
  sync(nodes)
  expect(a.store.keys.ids).toHaveLength(3)
  expect(a.store.keys.ids.toSorted()).toEqual(b.store.keys.ids.toSorted())
  expect(a.store.keys.current).toBe(b.store.keys.current)
  close(nodes)
})
