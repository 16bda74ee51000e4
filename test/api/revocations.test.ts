import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { RevocationJson, TokenIssuedJson, TokenJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { expectProblem } from './shape.ts'

let node: TestNode
let events: Awaited<ReturnType<typeof startEvents>>
beforeAll(async () => {
  events = await startEvents({ intervalMs: 20 })
  node = await startNode()
  await node.addServer('one', events.url)
  await node.addServer('two', events.url)
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

type Issued = Awaited<ReturnType<TestNode['createToken']>>
let ada: Issued
let adaTwo: Issued
let bob: Issued
let plain: Issued
const all = () => [ada, adaTwo, bob, plain]
beforeEach(async () => {
  // Names of the dead are free again: each test has the same four.
  await node.api('POST', '/revocations', { all: true, reason: 'other' })
  ada = await node.createToken('ada', ['one'], { subject: 'DEV@Example.com', group: 'Phoenix' })
  adaTwo = await node.createToken('ada two', ['one', 'two'], { subject: 'dev@example.com' })
  bob = await node.createToken('bob', ['two'], { subject: 'bob@example.com', group: 'phoenix' })
  plain = await node.createToken('plain', ['one'])
})

const revoke = (body: object) => node.api<RevocationJson>('POST', '/revocations', { reason: 'other', ...body })
const stateOf = async () => {
  const { json } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
  return all().map(({ id }) => json.items.find((token) => token.id === id)?.status)
}
/** Exactly these died: by the receipt, by the list, and at the gate. */
const expectDead = async ({ status, json }: { status: number; json: RevocationJson }, dead: Issued[]) => {
  expect([status, json.tokens?.map(({ id }) => id).toSorted()]).toEqual([201, dead.map(({ id }) => id).toSorted()])
  expect(await stateOf()).toEqual(all().map((token) => (dead.includes(token) ? 'revoked' : 'active')))
  for (const token of all()) {
    const client = await open(node.gate, { target: `/s/${token.servers[0]}/x`, headers: bearer(token.token) })
    await client.until(({ head }) => head !== null)
    client.close()
    expect([token.name, client.status]).toEqual([token.name, dead.includes(token) ? 401 : 200])
  }
}

describe('selects', () => {
  const rows: [what: string, body: () => object, dead: () => Issued[]][] = [
    ['an id', () => ({ tokens: [ada.id] }), () => [ada]],
    ['a name', () => ({ tokens: ['bob'] }), () => [bob]],
    ['ids and names, by OR', () => ({ tokens: [ada.id, 'bob', 'bob', ada.id] }), () => [ada, bob]],
    ['a subject, in any case', () => ({ subject: 'dev@EXAMPLE.com' }), () => [ada, adaTwo]],
    ['a subject in full width', () => ({ subject: 'ＤＥＶ＠ｅｘａｍｐｌｅ．ｃｏｍ' }), () => [ada, adaTwo]],
    ['a subject with spaces around', () => ({ subject: '  dev@example.com ' }), () => [ada, adaTwo]],
    ['a group', () => ({ group: 'PHOENIX' }), () => [ada, bob]],
    ['a server', () => ({ server: 'two' }), () => [adaTwo, bob]],
    ['all', () => ({ all: true }), all],
    ['subject AND server', () => ({ subject: 'dev@example.com', server: 'two' }), () => [adaTwo]],
    ['group AND subject', () => ({ group: 'phoenix', subject: 'bob@example.com' }), () => [bob]],
    ['tokens AND server', () => ({ tokens: [ada.id, bob.id], server: 'two' }), () => [bob]],
    ['all AND a group', () => ({ all: true, group: 'phoenix' }), () => [ada, bob]],
    [
      'nulls are not given',
      () => ({ tokens: ['plain'], subject: null, group: null, server: null, issuedBefore: null }),
      () => [plain],
    ],
    ['a time that is later than all', () => ({ issuedBefore: new Date(Date.now() + 1_000).toISOString() }), all],
    ['the day of today', () => ({ issuedBefore: new Date().toISOString().slice(0, 10) }), all],
    [
      'a time between',
      () => ({ issuedBefore: bob.createdAt }),
      () => [ada, adaTwo].filter((it) => it.createdAt < bob.createdAt),
    ],
  ]
  test.each(rows)('%s', async (_what, body, dead) => {
    await expectDead(await revoke(body()), dead())
  })

  test('letters that only casefold', async () => {
    const strasse = await node.createToken('strasse', ['one'], { subject: 'Straße@example.com' })
    const { json } = await revoke({ subject: 'STRASSE@EXAMPLE.COM' })
    expect(json.tokens.map(({ id }) => id)).toEqual([strasse.id])
  })

  test('nothing: what matches no live token is done, and writes nothing', async () => {
    const before = (await node.api<{ items: object[] }>('GET', '/revocations?limit=1000')).json.items.length
    const revokes = async () =>
      (await node.api<{ items: object[] }>('GET', '/audit?action=token.revoke&limit=1000')).json.items.length
    const rowsBefore = await revokes()
    for (const body of [
      {
        subject: 'bob@example.com',
        server: 'one',
      },
      { issuedBefore: '2020-01-01' },
      { tokens: ['plain'], group: 'phoenix' },
    ]) {
      const { status, json } = await revoke(body)
      expect([status, json.tokens, json.connections]).toEqual([200, [], { cut: 0 }])
    }
    expect((await node.api<{ items: object[] }>('GET', '/revocations?limit=1000')).json.items).toHaveLength(before)
    expect(await revokes()).toBe(rowsBefore)
    expect(await stateOf()).toEqual(['active', 'active', 'active', 'active'])
  })

  test('the dead again: done, nothing twice', async () => {
    const first = await revoke({ tokens: [ada.id], reason: 'compromised', note: 'first' })
    for (const body of [{ tokens: [ada.id] }, { tokens: ['ada'] }]) {
      const again = await revoke({ ...body, reason: 'policy', note: 'again' })
      expect([again.status, again.json.tokens, again.headers.get('location')]).toEqual([200, [], null])
    }
    const { json } = await node.api<{
      items: { details: { revocation: string }; reason: string }[]
    }>('GET', `/audit?action=token.revoke&target=${ada.id}`)
    expect(json.items).toMatchObject([{ reason: 'compromised', details: { revocation: first.json.id } }])
    await expectDead({ ...first }, [ada])
  })

  test("a dead one's name is free again, and then means the living", async () => {
    await revoke({ tokens: ['ada'] })
    const second = await node.api<TokenIssuedJson>('POST', '/tokens', { name: 'ada', servers: ['one'] })
    expect(second.status).toBe(201)
    expectProblem(await node.api('POST', '/tokens', { name: 'ada', servers: ['one'] }), 409)
    const { json } = await revoke({ tokens: ['ada'] })
    expect(json.tokens.map(({ id }) => id)).toEqual([second.json.id])
  })
})

describe('refuses', () => {
  const rows: [what: string, body: object, status: number][] = [
    ['nothing selected', {}, 400],
    ['an empty list', { tokens: [] }, 400],
    ['all: false', { all: false }, 400],
    ['empty texts', { subject: ' ', group: '' }, 400],
    ['an id that never was', { tokens: ['tok_never'] }, 404],
    ['one of many that never was', { tokens: ['ada', 'never'] }, 404],
    ['a subject that never was', { subject: 'nobody@example.com' }, 404],
    ['a group that never was', { group: 'nobody' }, 404],
    ['a server that never was', { server: 'nowhere' }, 404],
    ['an unknown reason', { all: true, reason: 'because' }, 400],
    ['no reason', { all: true, reason: undefined }, 400],
    ['a time that is none', { issuedBefore: 'yesterday' }, 400],
    ['an unknown selector', { all: true, owner: 'x' }, 400],
    ['a misspelt one beside a right one', { tokens: ['ada'], sujbect: 'x' }, 400],
    ['more than a thousand ids', { tokens: Array.from({ length: 1_001 }, () => 'ada') }, 400],
    // An empty variable of a script must not kill more than was meant.
    ['an empty text beside another selector', { all: true, subject: '' }, 400],
    ['an empty list beside another selector', { group: 'phoenix', tokens: [] }, 400],
  ]
  test.each(rows)('%s', async (_what, body, status) => {
    expectProblem(await revoke(body), status)
    expect(await stateOf()).toEqual(['active', 'active', 'active', 'active'])
  })

  test("a wait that can't be read, or is too long", async () => {
    for (const wait of ['soon', '5', '61s'])
      expectProblem(
        await node.api('POST', `/revocations?wait=${wait}`, {
          all: true,
          reason: 'other',
        }),
        400,
      )
    expect((await node.api('POST', '/revocations?wait=5s', { all: true, reason: 'other' })).status).toBe(201)
  })
})

test('a dry run shows all, and does nothing', async () => {
  const stream = await open(node.gate, { target: '/s/one/x', headers: bearer(ada.token) })
  await stream.until(({ text }) => text.includes('data:'))
  const { status, json, headers } = await revoke({ subject: 'dev@example.com', dryRun: true })
  expect([status, headers.get('location'), json.dryRun, json.complete]).toEqual([200, null, true, false])
  expect(json.tokens.map(({ name }) => name)).toEqual(['ada', 'ada two'])
  expect(json.connections.cut).toBe(1)
  expect(await stateOf()).toEqual(['active', 'active', 'active', 'active'])
  const seen = stream.bodyBytes
  await stream.until(({ bodyBytes }) => bodyBytes > seen)
  expectProblem(await node.api('GET', `/revocations/${json.id}`), 404)
  stream.close()
})

test('the receipt: what was cut, how long it took, and the same when asked for later', async () => {
  const streams = await Promise.all(
    [ada, ada, adaTwo].map((token) => open(node.gate, { target: '/s/one/x', headers: bearer(token.token) })),
  )
  for (const stream of streams) await stream.until(({ text }) => text.includes('data:'))
  const before = performance.now()
  const { status, json, headers } = await revoke({
    subject: 'dev@example.com',
    reason: 'offboarding',
    note: 'left today',
  })
  const tookMs = performance.now() - before
  expect([status, headers.get('location')]).toEqual([201, `/api/v1/revocations/${json.id}`])
  const { commitMs, firstCutMs, lastCutMs } = json.timings
  expect(commitMs).toBeGreaterThan(0)
  expect(firstCutMs).toBeGreaterThanOrEqual(commitMs ?? 0)
  expect(lastCutMs).toBeGreaterThanOrEqual(firstCutMs ?? 0)
  expect(lastCutMs).toBeLessThanOrEqual(tookMs)
  expect(structuredClone(json)).toMatchObject({
    actor: 'local:0',
    reason: 'offboarding',
    note: 'left today',
    dryRun: false,
    durable: true,
    complete: true,
    peers: [],
    connections: { cut: 3 },
    selector: { subject: 'dev@example.com' },
    tokens: [
      { id: ada.id, name: 'ada', subject: 'DEV@Example.com' },
      { id: adaTwo.id, name: 'ada two', subject: 'dev@example.com' },
    ],
  })
  expect(Math.abs(Date.parse(json.at) - Date.now())).toBeLessThan(5_000)
  for (const stream of streams) {
    await stream.done()
    expect(stream.text).toContain('token_revoked')
  }
  const stored = await eventually(async () => {
    const read = (await node.api<RevocationJson>('GET', `/revocations/${json.id}`)).json
    return read.timings.lastCutMs === null ? null : read
  })
  expect(stored).toEqual(json)
  expect(
    (await ask(node.gate, { target: '/s/one/x', headers: bearer(ada.token) })).head?.get('www-authenticate'),
  ).toContain('revoked')
})

test("what is revoked can't be rotated, and stays in the list", async () => {
  await revoke({ tokens: [ada.id] })
  expectProblem(await node.api('POST', `/tokens/${ada.id}/rotations`, {}), 409)
  const { json } = await node.api<TokenJson>('GET', `/tokens/${ada.id}`)
  expect(json).toMatchObject({ status: 'revoked', name: 'ada' })
  expect(json.revokedAt).toBeString()
})
