import { expect, test } from 'bun:test'
import { limits } from '../../src/limits.ts'
import { adoptRing } from '../../src/store/adopt.ts'
import { ClusterStore } from '../../src/store/cluster.ts'
import { found } from '../../src/store/founding.ts'
import { openNode, OWNER, pull, stateOf, type TestNode, without } from '../support/replica.ts'

const server = (node: TestNode, name: string, headers: Record<string, string> = {}) => {
  const made = node.control.draft({ name, url: `http://127.0.0.1:3001/${name}`, headers })
  node.control.add(made, OWNER)
  return made
}

const issue = (node: TestNode, name: string, subject = 'ada@example.com', servers = ['github']) =>
  node.issuance.issue({ name, servers, subject, group: 'team', expiresAt: null }, OWNER)

/** One of everything, living and dead. */
const populated = async () => {
  const node = openNode()
  server(node, 'github', { Authorization: 'Bearer upstream' })
  server(node, 'closed')
  server(node, 'gone')
  node.control.putGate('closed', 'closed', 'an audit', OWNER)
  const kept = issue(node, 'kept')
  const guarded = issue(node, 'guarded', 'grace@example.com')
  node.issuance.setPolicy(guarded.token, { callsPerMinute: 5 }, OWNER)
  const rotated = issue(node, 'rotated', 'grace@example.com', ['github', 'gone'])
  const second = node.issuance.rotate(rotated.token, 60_000, OWNER)
  const dead = issue(node, 'dead', 'mallory@example.com')
  await node.revocations.revoke({ subject: 'mallory@example.com', reason: 'compromised', note: 'why' }, OWNER, 0)
  const later = issue(node, 'later', 'mallory@example.com')
  node.control.remove('gone', OWNER)
  const apiKey = node.apiKeys.create('ci', 'operator', null, OWNER)
  const deadKey = node.apiKeys.create('old', 'auditor', null, OWNER)
  node.apiKeys.remove('old', OWNER)
  const { link } = node.access.create('Grace', 'owner', OWNER)
  const code = new URL(link.path, 'http://x').searchParams.get('code') as string
  await node.access.usePasswordLink(code, '', 'a long password', { address: '192.0.2.1', client: null })
  node.keys.rotate(OWNER)
  const underNew = issue(node, 'under the new key')
  const secrets = { kept, guarded, rotated, later, underNew, second: { secret: second }, dead }
  return { node, secrets, apiKey, deadKey }
}

const joinerOf = (node: TestNode): TestNode => {
  const joiner = openNode()
  adoptRing(joiner.store, { database: node.store.database, keys: [...node.store.keys.data.keys] })
  return joiner
}

test('who joins has all that the founder has, and knows nothing that the founder does not', async () => {
  const { node, secrets, apiKey, deadKey } = await populated()
  await found(node, { ...limits, foundingRowsSlice: 2, factsForgottenSlice: 3, deadPerFactMax: 1 }, OWNER)
  node.replica.reload()
  const joiner = joinerOf(node)
  expect(pull(joiner, node, 500)).toBe(17)
  expect(joiner.replica.vector).toEqual(node.replica.vector)
  expect(stateOf(joiner)).toEqual(stateOf(node))
  expect(stateOf(joiner).tokens).toHaveLength(6)
  // Secrets open it, with the ring that came with the ticket.
  for (const [name, { secret }] of Object.entries(secrets)) {
    const found = joiner.tokens.findSecret(secret, joiner.store.keys)
    expect(found?.token.revokedAt === null).toBe(name !== 'dead')
  }
  expect(joiner.servers.byName.get('github')?.headers).toEqual([['Authorization', 'Bearer upstream']])
  expect(joiner.servers.byName.get('closed')).toMatchObject({ state: 'closed', reason: 'an audit' })
  expect(joiner.servers.byName.has('gone')).toBe(false)
  expect(joiner.apiKeys.actorOf(apiKey.secret, '192.0.2.1')).toMatchObject({ role: 'operator' })
  expect(joiner.apiKeys.actorOf(deadKey.secret, '192.0.2.1')).toBeNull()
  const visitor = { address: '192.0.2.1', client: null }
  expect(await joiner.access.signIn('Grace', 'a long password', visitor)).toBeString()
  await expect(joiner.access.signIn('Grace', 'a wrong password', visitor)).rejects.toThrow('wrong')
  // What was restated is not restated again by who got it.
  expect(pull(node, joiner)).toBe(0)
  const before = stateOf(joiner)
  joiner.close()
  const again = openNode(joiner.folder)
  expect(stateOf(again)).toEqual(before)
  again.close()
  node.close()
})

test('what changes between two slices is known to who joins', async () => {
  const { node } = await populated()
  for (let count = 0; count < 40; count += 1) issue(node, `many ${count}`, `many-${count}@example.com`)
  for (let count = 0; count < 20; count += 1) {
    issue(node, `before ${count}`, `again-${count}@example.com`)
    const subject = `again-${count}@example.com`
    await node.revocations.revoke({ subject, reason: 'other' }, OWNER, 0)
  }
  const founding = found(node, { ...limits, foundingRowsSlice: 1, factsForgottenSlice: 5 }, OWNER)
  let isDone = false
  void founding.then(() => (isDone = true))
  for (let turns = 0; !isDone; turns += 1) {
    if (turns % 3 === 0) {
      const made = issue(node, `meanwhile ${turns}`, 'mallory@example.com')
      // Issued after the one that revoked mallory before, so it lives; and the next dies by another.
      if (turns % 2 === 0) node.issuance.setPolicy(made.token, { callsPerMinute: 9 }, OWNER)
      if (turns % 4 === 0) node.issuance.rotate(made.token, 0, OWNER)
    }
    // Of a subject whose revocation may not have been said anew yet: it was before.
    issue(node, `meanwhile again ${turns}`, `again-${turns % 20}@example.com`)
    issue(node, `meanwhile last ${turns}`, 'again-19@example.com')
    if (turns % 5 === 1) {
      const subject = `many-${turns}@example.com`
      if (node.tokens.isKnown('subject', subject)) await node.revocations.revoke({ subject, reason: 'other' }, OWNER, 0)
    }
    if (turns === 7) node.control.putGate('github', 'closed', 'meanwhile', OWNER)
    await Bun.sleep(0)
  }
  await founding
  node.replica.reload()
  const joiner = joinerOf(node)
  pull(joiner, node)
  // Each node lists who died on it: those that it knows dead from the first are in no list of a revocation made meanwhile.
  const withoutSeen = (one: TestNode) => {
    const { tokens, revocations, ...rest } = stateOf(one)
    const killed = revocations.map((revocation) => without(revocation, 'dead'))
    return { ...rest, killed, tokens: tokens.map((token) => without(token, 'seen')) }
  }
  expect(withoutSeen(joiner)).toEqual(withoutSeen(node))
  const meanwhile = [...joiner.tokens].filter(({ name }) => name.startsWith('meanwhile'))
  expect(meanwhile.length).toBeGreaterThan(3)
  expect(meanwhile.every(({ revokedAt }) => revokedAt === null)).toBe(true)
  expect([...joiner.tokens].filter(({ name, revokedAt }) => name.startsWith('many') && revokedAt !== null)).not.toEqual(
    [],
  )
  joiner.close()
  node.close()
})

test('a founding that was broken off is begun again', async () => {
  const { node } = await populated()
  const stopAfter = 7
  let writes = 0
  const { changes } = node.store.log
  node.store.log.changes = (...given: Parameters<typeof changes>) => {
    if ((writes += 1) > stopAfter) throw new Error('the process ends here')
    return changes.apply(node.store.log, given) as never
  }
  const before = stateOf(node)
  await expect(found(node, { ...limits, foundingRowsSlice: 1 }, OWNER)).rejects.toThrow('ends here')
  await Bun.sleep(0)
  node.close()
  const again = openNode(node.folder)
  const bare = ({ tokens, ...rest }: ReturnType<typeof stateOf>) => ({
    ...rest,
    tokens: tokens.map((token) => without(token, 'seen')),
  })
  expect(bare(stateOf(again))).toEqual(bare(before))
  await found(again, limits, OWNER)
  again.replica.reload()
  const joiner = joinerOf(again)
  pull(joiner, again)
  expect(stateOf(joiner)).toEqual(stateOf(again))
  // None of the first try is left: each token was told once.
  const told = again.store.client.query("SELECT count(*) AS n FROM facts WHERE kind = 'token.issue'").get()
  expect(told).toEqual({ n: 6 })
  // And from here on facts are for ever.
  expect(() => again.store.client.run('DELETE FROM facts')).toThrow('immutable')
  joiner.close()
  again.close()
})

test('a folder that is not empty joins nothing, and stays as it is', async () => {
  const { node } = await populated()
  const other = openNode()
  server(other, 'own')
  const { database } = other.store
  const ring = { database: node.store.database, keys: [...node.store.keys.data.keys] }
  expect(() => adoptRing(other.store, ring)).toThrow('has servers of its own')
  other.close()
  const again = openNode(other.folder)
  expect(again.store.database).toBe(database)
  expect(again.servers.byName.has('own')).toBe(true)
  again.close()
  node.close()
})

test('a joiner that is broken off with its key file written opens, and can do it again', async () => {
  const { node } = await populated()
  const ring = { database: node.store.database, keys: [...node.store.keys.data.keys] }
  const joiner = openNode()
  const { write } = joiner.store.log
  let writes = 0
  joiner.store.log.write = (given) => {
    if ((writes += 1) === 3) throw new Error('the process ends here')
    return write.call(joiner.store.log, given) as never
  }
  expect(() => adoptRing(joiner.store, ring)).toThrow('ends here')
  const { publicKey } = new ClusterStore(joiner.store).keys()
  joiner.close()
  const again = openNode(joiner.folder)
  expect(again.store.database).toBe(node.store.database)
  expect(again.store.keys.ids).toEqual(node.store.keys.ids)
  // The ticket is good for whoever showed it first.
  expect(new ClusterStore(again.store).keys().publicKey).toBe(publicKey)
  adoptRing(again.store, ring)
  again.close()
  const last = openNode(joiner.folder)
  expect(last.store.database).toBe(node.store.database)
  last.close()
  node.close()
})
