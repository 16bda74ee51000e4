import { expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import { adoptRing } from '../../src/store/adopt.ts'
import { found } from '../../src/store/founding.ts'
import { openNode, OWNER, pull, stateOf, type TestNode } from '../support/replica.ts'

const VISITOR = { address: '192.0.2.1', client: null }
const PASSWORD = 'correct horse battery'

const two = async (): Promise<[TestNode, TestNode]> => {
  const a = openNode()
  await found(a, limits, OWNER)
  a.replica.reload()
  const b = openNode()
  adoptRing(b.store, { database: a.store.database, keys: [...a.store.keys.data.keys] })
  return [a, b]
}

const codeOf = (path: string) => new URL(path, 'http://x').searchParams.get('code') as string

const owner = async (node: TestNode, name = 'Grace', password = PASSWORD) => {
  const { link } = node.access.create(name, 'owner', OWNER)
  await node.access.usePasswordLink(codeOf(link.path), '', password, VISITOR)
}

const isIn = (node: TestNode, session: string) => node.access.actorOfSession(session, VISITOR.address, false) !== null

const close = (...nodes: TestNode[]) => {
  for (const node of nodes) node.close()
}

test('an operator signs in on any node; a new password and a removal end the sessions on all', async () => {
  const [a, b] = await two()
  await owner(a)
  await owner(a, 'Ada')
  pull(b, a)
  expect(stateOf(b)).toEqual(stateOf(a))
  const session = await b.access.signIn('Grace', PASSWORD, VISITOR)
  const ada = await b.access.signIn('Ada', PASSWORD, VISITOR)
  const link = a.access.reset('Grace', OWNER)
  pull(b, a)
  expect(isIn(b, session)).toBe(true)
  await a.access.usePasswordLink(codeOf(link.path), '', 'another long password', VISITOR)
  pull(b, a)
  expect(isIn(b, session)).toBe(false)
  expect(isIn(b, ada)).toBe(true)
  await expect(b.access.signIn('Grace', PASSWORD, VISITOR)).rejects.toThrow('wrong')
  const again = await b.access.signIn('Grace', 'another long password', VISITOR)
  a.access.remove('Grace', OWNER)
  pull(b, a)
  expect(isIn(b, again)).toBe(false)
  expect(b.operators.named('Grace')).toBeNull()
  await expect(b.access.signIn('Grace', 'another long password', VISITOR)).rejects.toThrow('wrong')
  // No password and no hash in the audit log.
  const rows = JSON.stringify(b.store.client.query('SELECT details FROM audit').all())
  expect(rows).not.toContain('argon2id')
  close(a, b)
})

test('a removal that overtakes what it removes is not undone by it', async () => {
  const [a, b] = await two()
  await owner(a)
  await owner(a, 'Ada')
  const { key, secret } = a.apiKeys.create('ci', 'operator', null, OWNER)
  a.access.remove('Ada', OWNER)
  a.apiKeys.remove('ci', OWNER)
  const { facts } = a.replica.behind(b.replica.vector, 1e6)
  const [first, ...rest] = [
    facts.filter(({ stream }) => stream === 'revocation'),
    facts.filter(({ stream }) => stream === 'change'),
  ]
  expect(first.map(({ kind }) => kind)).toEqual(['operator.remove', 'apikey.remove'])
  b.replica.apply(first, false)
  for (const changes of rest) b.replica.apply(changes, false)
  expect(b.operators.all().map(({ name }) => name)).toEqual(['Grace'])
  expect(b.apiKeys.find(secret)).toBeNull()
  const deeds = b.store.client.query("SELECT count(*) AS n FROM audit WHERE action = 'apikey.remove'").get()
  expect(deeds).toEqual({ n: 1 })
  b.close()
  const again = openNode(b.folder)
  expect(again.apiKeys.find(secret)).toBeNull()
  expect(again.apiKeys.list().map(({ id }) => id)).not.toContain(key.id)
  expect(again.operators.named('Ada')).toBeNull()
  close(a, again)
})

test('an API key works on all nodes until it is removed on one', async () => {
  const [a, b] = await two()
  const { secret } = a.apiKeys.create('ci', 'operator', null, OWNER)
  pull(b, a)
  expect(b.apiKeys.actorOf(secret, '192.0.2.1')).toEqual({ name: 'apikey:ci', role: 'operator' })
  b.apiKeys.remove('ci', OWNER)
  pull(a, b)
  expect(a.apiKeys.actorOf(secret, '192.0.2.1')).toBeNull()
  close(a, b)
})

test('two operators and two API keys of one name: both are shown, the first made signs in, and a removal takes both', async () => {
  const [a, b] = await two()
  await owner(a, 'Root')
  await owner(a)
  await owner(b, 'Grace', 'the password of the other')
  const keys = [a, b].map((node) => node.apiKeys.create('ci', 'auditor', null, OWNER))
  pull(a, b)
  pull(b, a)
  for (const node of [a, b]) {
    expect(node.access.operators().filter(({ name }) => name === 'Grace')).toHaveLength(2)
    expect(await node.access.signIn('Grace', PASSWORD, VISITOR)).toBeString()
    await expect(node.access.signIn('Grace', 'the password of the other', VISITOR)).rejects.toThrow('wrong')
    expect(() => node.access.create('Grace', 'auditor', OWNER)).toThrow('already')
  }
  b.access.remove('Grace', OWNER)
  b.apiKeys.remove('ci', OWNER)
  pull(a, b)
  expect(a.access.operators().map(({ name }) => name)).toEqual(['Root'])
  for (const { secret } of keys) expect(a.apiKeys.find(secret)).toBeNull()
  expect(stateOf(a)).toEqual(stateOf(b))
  close(a, b)
})

test('of two new passwords the later one holds on all nodes', async () => {
  const [a, b] = await two()
  await owner(a)
  pull(b, a)
  const links = [a, b].map((node) => codeOf(node.access.reset('Grace', OWNER).path))
  await a.access.usePasswordLink(links[0] as string, '', 'the earlier password', VISITOR)
  await b.access.usePasswordLink(links[1] as string, '', 'the later password', VISITOR)
  pull(a, b)
  pull(b, a)
  for (const node of [a, b]) {
    expect(await node.access.signIn('Grace', 'the later password', VISITOR)).toBeString()
    await expect(node.access.signIn('Grace', 'the earlier password', VISITOR)).rejects.toThrow('wrong')
  }
  close(a, b)
})

test('a node whose disk refuses a removal lets nobody in by it all the same', async () => {
  const [a, b] = await two()
  await owner(a)
  const { secret } = a.apiKeys.create('ci', 'operator', null, OWNER)
  pull(b, a)
  const session = await b.access.signIn('Grace', PASSWORD, VISITOR)
  await owner(a, 'Ada')
  a.access.remove('Grace', OWNER)
  a.apiKeys.remove('ci', OWNER)
  b.store.client.run("CREATE TRIGGER full BEFORE INSERT ON facts BEGIN SELECT RAISE(ABORT, 'disk full'); END")
  expect(() => pull(b, a)).toThrow("can't be written")
  expect(isIn(b, session)).toBe(false)
  expect(b.apiKeys.find(secret)).toBeNull()
  b.store.client.run('DROP TRIGGER full')
  pull(b, a)
  expect(stateOf(b)).toEqual(stateOf(a))
  close(a, b)
})
