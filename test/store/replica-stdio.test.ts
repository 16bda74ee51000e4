import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { NOBODY } from '../../src/cluster-view.ts'
import { limits } from '../../src/limits.ts'
import type { StdioRequest } from '../../src/stdio.ts'
import { adoptRing } from '../../src/store/adopt.ts'
import { ClusterStore } from '../../src/store/cluster.ts'
import { found } from '../../src/store/founding.ts'
import { goBack } from '../../src/store/going-back.ts'
import { ServerStore } from '../../src/store/server.ts'
import type { Upstream } from '../../src/upstream.ts'
import { openNode, OWNER, pull, stateOf, type TestNode } from '../support/replica.ts'
import { backUp, restore } from '../support/replica-backup.ts'
import { tempFolder } from '../support/temp.ts'

const VALUE = 'a-value-that-must-not-leak-Zq7'

const joinerOf = (node: TestNode, folder = tempFolder(), lacks?: ReadonlySet<string>): TestNode => {
  const joiner = openNode(folder, undefined, NOBODY, lacks)
  adoptRing(joiner.store, { database: node.store.database, keys: [...node.store.keys.data.keys] })
  return joiner
}

const cluster = async (count: number): Promise<[TestNode, TestNode, ...TestNode[]]> => {
  const first = openNode()
  await found(first, limits, OWNER)
  first.replica.reload()
  return [first, ...Array.from({ length: count - 1 }, () => joinerOf(first))] as [TestNode, TestNode, ...TestNode[]]
}

const addCommand = (node: TestNode, name: string, more: Partial<StdioRequest> = {}): Upstream => {
  const stdio = { command: ['npx', '-y', name], env: { TOKEN: VALUE }, ...more }
  const made = node.control.draft({ name, stdio })
  node.control.add(made, OWNER)
  return made
}

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

/** Every byte of the database: rows that were deleted, and what still waits in the -wal, as well. */
const bytesOf = (folder: string): string =>
  readdirSync(folder)
    .filter((name) => name.startsWith('portcullis.db') || name.startsWith('portcullis.journal'))
    .map((name) => readFileSync(join(folder, name), 'latin1'))
    .join('\n')

test('a command that is added, changed, closed and removed on one node is so on all; its values are in no byte', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  addCommand(a, 'fs', { shared: true })
  pull(b, a)
  const there = b.servers.byName.get('fs') as Upstream
  expect(there).toMatchObject({ kind: 'stdio', headers: [], url: new URL('http://stdio.invalid/') })
  expect(there.stdio).toMatchObject({ command: ['npx', '-y', 'fs'], env: [['TOKEN', VALUE]], shared: true })
  expect(there.stdio?.node).toBe(a.store.node)
  a.control.change('fs', { stdio: { command: ['uvx', 'fs'], env: { TOKEN: '***', MORE: 'public' } } }, OWNER)
  pull(b, a)
  // The same object: connections and the predicate hold on to it.
  expect(b.servers.byName.get('fs')).toBe(there)
  const env = [
    ['TOKEN', VALUE],
    ['MORE', 'public'],
  ]
  expect(there.stdio).toMatchObject({ command: ['uvx', 'fs'], env, shared: true })
  same(nodes)
  b.control.putGate('fs', 'closed', 'an incident', OWNER)
  pull(a, b)
  a.control.change('fs', { stdio: { idleMs: 1_000 } }, OWNER)
  pull(b, a)
  expect(there).toMatchObject({ state: 'closed', reason: 'an incident', stdio: { idleMs: 1_000 } })
  for (const { store } of nodes) {
    const rows = store.client.query("SELECT action, details FROM audit WHERE action LIKE 'server.%'").all()
    const told = JSON.stringify(rows)
    expect(told).toContain('uvx')
    expect(told).toContain('TOKEN')
    expect(told).not.toContain(VALUE)
  }
  for (const { folder } of nodes) expect(bytesOf(folder)).not.toContain(VALUE)
  a.control.remove('fs', OWNER)
  pull(b, a)
  expect(b.servers.byName.has('fs')).toBe(false)
  // Memory still holds what it was; the disk opens nothing of what is removed.
  const disk = (node: TestNode) => new ServerStore(node.store).all()
  expect(disk(a)).toEqual(disk(b))
  expect(disk(a)[0]?.stdio).toMatchObject({ command: ['uvx', 'fs'], env: [] })
  close(nodes)
})

test('of two changes that did not know each other the later one holds, whichever comes first', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  addCommand(a, 'fs')
  sync(nodes)
  a.control.change('fs', { stdio: { command: ['first'], env: { TOKEN: 'a' } } }, OWNER)
  b.control.change('fs', { stdio: { command: ['second'] } }, OWNER)
  pull(c, b)
  pull(c, a)
  pull(a, b)
  pull(b, a)
  same(nodes)
  expect(c.servers.byName.get('fs')?.stdio).toMatchObject({ command: ['second'], env: [['TOKEN', VALUE]] })
  close(nodes)
})

test('a gate and a removal that come before their command hold once it comes', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  const [fs, git] = [addCommand(a, 'fs'), addCommand(a, 'git')]
  pull(b, a)
  b.control.putGate('fs', 'closed', 'by b', OWNER)
  b.control.remove('git', OWNER)
  const late = joinerOf(a)
  late.replica.apply(b.replica.behind(a.replica.vector, 1e6).facts, true)
  expect(late.servers.byId.size).toBe(0)
  pull(late, a)
  expect(late.servers.byId.get(fs.id)).toMatchObject({ state: 'closed', reason: 'by b' })
  expect(late.servers.byId.get(git.id)?.removedAt).not.toBeNull()
  expect(late.servers.byName.has('git')).toBe(false)
  close([...nodes, late])
})

test('a command told under a key that is still on its way waits for it; after a rotation all open it, and on disk', async () => {
  const nodes = await cluster(3)
  const [a, b, c] = nodes as [TestNode, TestNode, TestNode]
  addCommand(a, 'old')
  sync(nodes)
  const first = a.store.keys.current
  const key = a.keys.rotate(OWNER)
  pull(b, a)
  addCommand(b, 'fs')
  c.replica.apply(b.replica.behind(a.replica.vector, 1e6).facts, true)
  expect(c.servers.byName.has('fs')).toBe(false)
  const running = c.servers.byName.get('old')?.stdio
  pull(c, a)
  expect(c.servers.byName.get('fs')?.stdio?.env).toEqual([['TOKEN', VALUE]])
  sync(nodes)
  await b.keys.remove(first, false, OWNER, 0)
  sync(nodes)
  same(nodes)
  // All credentials were told again, and it is no other command: whoever runs it need not end it.
  expect(c.servers.byName.get('old')?.stdio).toBe(running as NonNullable<typeof running>)
  // Who joins now has no key for what was told before.
  const late = joinerOf(c)
  expect(late.store.keys.ids).toEqual([key.id])
  pull(late, c)
  same([c, late])
  late.close()
  for (const node of nodes) {
    const before = stateOf(node)
    node.close()
    const again = openNode(node.folder)
    expect(stateOf(again)).toEqual(before)
    expect(again.servers.byName.get('old')?.stdio?.env).toEqual([['TOKEN', VALUE]])
    again.close()
  }
})

test('the environment of a removed command is never opened again, also when its key is gone', async () => {
  const node = openNode()
  addCommand(node, 'fs')
  node.control.remove('fs', OWNER)
  const first = node.store.keys.current
  node.keys.rotate(OWNER)
  await node.keys.remove(first, false, OWNER, 0)
  node.close()
  const again = openNode(node.folder)
  expect([...again.servers.byId.values()].map(({ stdio }) => stdio?.env)).toEqual([[]])
  again.close()
})

test('an older program keeps and passes on what it does not know, and has it after its upgrade', async () => {
  const a = openNode()
  await found(a, limits, OWNER)
  a.replica.reload()
  const folder = tempFolder()
  const lacks = new Set(['server.stdio'])
  const old = joinerOf(a, folder, lacks)
  addCommand(a, 'fs')
  const git = addCommand(a, 'git')
  addCommand(a, 'gone')
  const { secret } = a.issuance.issue({ name: 'for fs', servers: ['fs', 'git'], expiresAt: null }, OWNER)
  a.control.change('fs', { stdio: { command: ['newer'] } }, OWNER)
  a.control.putGate('git', 'closed', 'before the upgrade', OWNER)
  a.control.remove('gone', OWNER)
  pull(old, a)
  // Above all it must not call it by the address that stands in place of a URL.
  expect(old.servers.byId.size).toBe(0)
  expect(old.tokens.findSecret(secret, old.store.keys)?.token.servers.has(git.id)).toBe(true)
  expect(old.replica.vector).toEqual(a.replica.vector)
  const through = joinerOf(a)
  pull(through, old)
  expect(through.servers.sorted().map(({ name }) => name)).toEqual(['fs', 'git'])
  old.close()
  const upgraded = openNode(folder)
  expect(upgraded.servers.byName.get('fs')?.stdio).toMatchObject({ command: ['newer'], env: [['TOKEN', VALUE]] })
  expect(upgraded.servers.byName.get('git')).toMatchObject({ state: 'closed', reason: 'before the upgrade' })
  expect(upgraded.servers.byName.has('gone')).toBe(false)
  same([through, upgraded])
  close([a, through, upgraded])
})

test('who founds a cluster runs its commands, whatever its id was when they were added, and tells them all', async () => {
  const before = openNode()
  addCommand(before, 'fs', { everywhere: true })
  addCommand(before, 'git')
  addCommand(before, 'gone')
  before.control.remove('gone', OWNER)
  const file = await backUp(before)
  const folder = tempFolder()
  restore(file, folder)
  const a = openNode(folder)
  expect(a.store.node).not.toBe(before.store.node)
  expect(a.servers.byName.get('git')?.stdio?.node).toBe(before.store.node)
  expect(a.servers.byName.get('git')?.stdio?.env).toEqual([['TOKEN', VALUE]])
  await found(a, limits, OWNER)
  a.replica.reload()
  const joiner = joinerOf(a)
  pull(joiner, a)
  for (const node of [a, joiner]) {
    expect(node.servers.sorted().map(({ stdio }) => stdio?.node)).toEqual([a.store.node, a.store.node])
    expect(node.servers.byName.get('fs')?.stdio).toMatchObject({ everywhere: true, env: [['TOKEN', VALUE]] })
  }
  expect(new ServerStore(joiner.store).all()).toEqual(new ServerStore(a.store).all())
  close([before, a, joiner])
})

test('who takes the place of a node runs what ran there, and nothing else', async () => {
  const nodes = await cluster(2)
  const [a, b] = nodes
  addCommand(a, 'fs')
  addCommand(b, 'git')
  sync(nodes)
  new ServerStore(b.store).takeOver(b.servers.live(), (node) => node === 'node_of_nobody')
  expect(b.servers.byName.get('fs')?.stdio?.node).toBe(a.store.node)
  new ServerStore(b.store).takeOver(b.servers.live(), (node) => node === a.store.node)
  sync(nodes)
  same(nodes)
  for (const { servers } of nodes)
    expect(servers.sorted().map(({ stdio }) => stdio?.node)).toEqual([b.store.node, b.store.node])
  close(nodes)
})

test('a restore brings commands back, and what was removed since stays so', async () => {
  const node = openNode()
  addCommand(node, 'fs')
  addCommand(node, 'git')
  addCommand(node, 'closed')
  const file = await backUp(node)
  node.control.remove('git', OWNER)
  node.control.putGate('closed', 'closed', 'since', OWNER)
  node.close()
  restore(file, node.folder)
  const again = openNode(node.folder)
  expect(again.servers.sorted().map(({ name }) => name)).toEqual(['closed', 'fs'])
  expect(again.servers.byName.get('closed')?.state).toBe('closed')
  expect(again.servers.byName.get('fs')?.stdio).toMatchObject({ command: ['npx', '-y', 'fs'], env: [['TOKEN', VALUE]] })
  expect(bytesOf(node.folder)).not.toContain(VALUE)
  again.close()
})

test('a copy that is put back has commands as they are now', async () => {
  const node = openNode()
  addCommand(node, 'fs')
  node.store.client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  const copy = join(tempFolder(), 'copy')
  node.store.client.query('VACUUM INTO ?').run(copy)
  node.control.change('fs', { stdio: { command: ['since'], env: { TOKEN: 'other-value-Zq8' } } }, OWNER)
  const first = node.store.keys.current
  node.keys.rotate(OWNER)
  await node.keys.remove(first, false, OWNER, 0)
  node.close()
  goBack(copy, { folder: node.folder, keyFile: node.files.key, version: '0.4.0', actor: 'local:0', now: Date.now })
  const again = openNode(node.folder)
  expect(again.servers.byName.get('fs')?.stdio).toMatchObject({
    command: ['since'],
    env: [['TOKEN', 'other-value-Zq8']],
  })
  again.close()
})

test('a member that goes back to a program which knows no commands has them again after its upgrade', async () => {
  const a = openNode()
  await found(a, limits, OWNER)
  a.replica.reload()
  const cluster = new ClusterStore(a.store)
  cluster.create('cl_1', false)
  a.store.client.run('PRAGMA wal_checkpoint(TRUNCATE)')
  const copy = join(tempFolder(), 'copy')
  a.store.client.query('VACUUM INTO ?').run(copy)
  // As an upgrade leaves it: of before there were columns for commands.
  const before = new Database(copy)
  before.run('ALTER TABLE servers DROP COLUMN stdio')
  before.run('ALTER TABLE servers DROP COLUMN env')
  before.run('DELETE FROM __drizzle_migrations WHERE rowid = (SELECT max(rowid) FROM __drizzle_migrations)')
  before.close()
  addCommand(a, 'fs')
  addCommand(a, 'gone')
  a.control.remove('gone', OWNER)
  const { name, id } = addCommand(a, 'git')
  a.control.putGate(name, 'closed', 'an incident', OWNER)
  a.close()
  const options = { folder: a.folder, keyFile: a.files.key, version: '0.4.0', actor: 'local:0', now: Date.now }
  expect(goBack(copy, options).merged).toMatchObject({ servers: 0 })
  const old = new Database(a.files.database, { readonly: true })
  expect(old.query("SELECT name FROM pragma_table_info('servers') WHERE name IN ('stdio', 'env')").all()).toEqual([])
  // Nothing that it would call: only what is removed.
  expect(old.query('SELECT name FROM servers WHERE removed_at IS NULL').all()).toEqual([])
  expect(old.query("SELECT count(*) AS n FROM carried WHERE kind = 'server.stdio'").get()).toEqual({ n: 3 })
  old.close()
  const again = openNode(a.folder)
  expect(again.servers.sorted().map((server) => [server.name, server.state])).toEqual([
    ['fs', 'open'],
    ['git', 'closed'],
  ])
  expect(again.servers.byId.get(id)?.stdio?.env).toEqual([['TOKEN', VALUE]])
  expect(bytesOf(a.folder)).not.toContain(VALUE)
  again.close()
})

type Step =
  | { at: number; what: 'add' | 'change' | 'close' | 'open' | 'remove'; name: number; value: number }
  | { at: number; what: 'pull'; from: number }

const NAMES = ['fs', 'git', 'db']

test('whatever is done where, and in whatever order it is heard of, all come to the same', async () => {
  const at = fc.nat({ max: 2 })
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      at,
      what: fc.constantFrom('add', 'change', 'change', 'close', 'open', 'remove'),
      name: fc.nat({ max: NAMES.length - 1 }),
      value: fc.nat({ max: 9 }),
    }),
    fc.record({ at, what: fc.constant('pull' as const), from: at }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const nodes = await cluster(3)
      const removed = new Set<string>()
      try {
        for (const one of steps) {
          const node = nodes[one.at] as TestNode
          if (one.what === 'pull') {
            if (one.from !== one.at) pull(node, nodes[one.from] as TestNode)
            continue
          }
          const name = NAMES[one.name] as string
          const here = node.servers.named(name)
          if (one.what === 'add') {
            if (here.length === 0) addCommand(node, name, { env: { TOKEN: `${VALUE}${one.value}` } })
          } else if (here.length === 0) continue
          else if (one.what === 'change') {
            const env = { TOKEN: one.value < 5 ? '***' : `${VALUE}${one.value}` }
            node.control.change(name, { stdio: { command: [name, `${one.value}`], env } }, OWNER)
          } else if (one.what === 'remove') {
            for (const { id } of here) removed.add(id)
            node.control.remove(name, OWNER)
          } else node.control.putGate(name, one.what === 'close' ? 'closed' : 'open', undefined, OWNER)
        }
        sync(nodes)
        // Of a removed one the memory of who had it holds more than the disk.
        const living = (node: TestNode) => node.servers.live().map((server) => ({ ...server, url: server.url.href }))
        const [a, ...others] = nodes.map((node) => ({ living: living(node), disk: new ServerStore(node.store).all() }))
        const byId = <T extends { id: string }>(all: T[]) => all.toSorted((x, y) => (x.id < y.id ? -1 : 1))
        for (const other of others) {
          expect(byId(other.living)).toEqual(byId(a?.living ?? []))
          expect(byId(other.disk)).toEqual(byId(a?.disk ?? []))
        }
        for (const { id } of a?.living ?? []) expect(removed.has(id)).toBe(false)
        for (const { folder } of nodes) expect(bytesOf(folder)).not.toContain(VALUE)
      } finally {
        close(nodes)
      }
    }),
    { numRuns: 15 },
  )
}, 60_000)
