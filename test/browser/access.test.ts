import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, type TestNode } from '../support/node.ts'
import { unknownSecret } from '../support/secret.ts'
import { linkOfNew, PASSWORD, setupLinkOf, Visitor } from './visitor.ts'

let node: TestNode
let owner: Visitor
let operator: Visitor
let auditor: Visitor

beforeAll(async () => {
  node = await startNode()
  owner = new Visitor(node.console)
  operator = new Visitor(node.console)
  auditor = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'ada')
  await operator.usePasswordLink(await linkOfNew(node, 'edsger', 'operator'), '')
  await auditor.usePasswordLink(await linkOfNew(node, 'grace', 'auditor'), '')
})
afterAll(() => node.stop())

const read = async (path: string, by = owner) => (await by.get(path)).text()
const formIdOf = (html: string): string => /name="form" value="([^"]+)"/.exec(html)?.[1] ?? ''
const filled = async (path: string, fields: Record<string, string>) => ({ form: formIdOf(await read(path)), ...fields })
const itemsOf = async (path: string) =>
  (await node.api<{ items: { id: string; name: string }[] }>('GET', `${path}?limit=1000`)).json.items
const idOf = async (path: string, name: string) => (await itemsOf(path)).find((item) => item.name === name)?.id ?? ''
const LINK = /http[^"<\s]+\/setup\?code=[^"<\s]+/
const KEY = /pca_[0-9A-Za-z]{36}/

/** Nothing that lasts may hold it. */
const expectNoTrace = async (secret: string) => {
  expect(node.stdout() + node.stderr()).not.toContain(secret)
  for (const { parentPath, name } of readdirSync(node.data, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  ))
    expect(readFileSync(join(parentPath, name)).includes(secret), name).toBe(false)
  for (const path of ['/access', '/audit']) expect(await read(path)).not.toContain(secret)
}

describe('roles', () => {
  const WRITES = [
    '/access/operators/new',
    '/access/operators/op_x/link',
    '/access/operators/op_x/removal',
    '/access/keys/new',
    '/access/keys/key_x/removal',
  ]

  test('an operator and an auditor see the lists and their own sessions, and no button of the owner', async () => {
    for (const [by, name, others] of [
      [operator, 'edsger', 'grace'],
      [auditor, 'grace', 'edsger'],
    ] as const) {
      const html = await read('/access', by)
      expect(html).toContain('Your sessions')
      expect(html).not.toMatch(/>Remove<|Reset password|Add a person|Make an API key/)
      const sessions = html.slice(html.indexOf('id="sessions-title"'))
      expect(sessions).toContain(name)
      expect(sessions).not.toContain(others)
      for (const path of WRITES) {
        expect((await by.get(path)).status).toBe(403)
        expect((await by.post(path, { name: 'x', role: 'owner' })).status).toBe(403)
      }
    }
    expect(await itemsOf('/apikeys')).toEqual([])
  })

  test('who is not signed in is led there, and can post nothing', async () => {
    const stranger = new Visitor(node.console)
    for (const path of [...WRITES, '/access', '/access/sessions', '/access/sessions/ses_x/end']) {
      const answer = await stranger.get(path)
      expect([path, answer.status, answer.headers.get('location')]).toEqual([path, 303, '/sign-in'])
    }
    for (const path of [...WRITES, '/access/sessions/others/end'])
      expect((await stranger.post(path, { name: 'x', role: 'owner' })).status).toBe(401)
  })
})

describe('people', () => {
  test('one is added: the link is shown once, works once, and a reload makes no second', async () => {
    const fields = await filled('/access/operators/new', { name: 'barbara', role: 'auditor' })
    const answer = await owner.post('/access/operators/new', fields)
    const html = await answer.text()
    expect(answer.status).toBe(201)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const link = LINK.exec(html)?.[0] ?? ''
    const again = await owner.post('/access/operators/new', fields)
    expect(again.status).toBe(200)
    const before = await again.text()
    expect(before).toContain('Made already')
    expect(before).not.toMatch(LINK)
    expect((await itemsOf('/operators')).filter(({ name }) => name === 'barbara')).toHaveLength(1)
    await expectNoTrace(new URL(link).searchParams.get('code') ?? '')

    expect(await read('/access')).toContain('no password set yet')
    const barbara = new Visitor(node.console)
    expect((await barbara.usePasswordLink(link, '')).status).toBe(303)
    expect((await barbara.usePasswordLink(link, '')).status).toBe(403)
  })

  test.each([
    ['a secret', unknownSecret(), 'holds a secret'],
    ['a name that is taken', 'grace', 'already'],
    ['nothing', '  ', 'is empty'],
  ])('%s is refused as a name, beside the field', async (_, name, why) => {
    const answer = await owner.post(
      '/access/operators/new',
      await filled('/access/operators/new', { name, role: 'operator' }),
    )
    const html = await answer.text()
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(html).toContain('id="name-wrong"')
    expect(html).toContain(why)
    if (name.startsWith('pcl_')) expect(html).not.toContain(name)
  })

  test('a reset makes a new link: the old password works until it is used', async () => {
    const id = await idOf('/operators', 'barbara')
    const path = `/access/operators/${id}/link`
    const fields = await filled(path, {})
    const html = await (await owner.post(path, fields)).text()
    const again = await (await owner.post(path, fields)).text()
    expect(again).not.toMatch(LINK)
    const barbara = new Visitor(node.console)
    expect((await barbara.post('/sign-in', { name: 'barbara', password: PASSWORD })).status).toBe(303)
    await new Visitor(node.console).usePasswordLink(LINK.exec(html)?.[0] ?? '', '', 'another long password')
    expect((await barbara.get('/access')).status).toBe(303)
    expect((await new Visitor(node.console).post('/sign-in', { name: 'barbara', password: PASSWORD })).status).toBe(401)
  })

  test('a removal is asked for first, and ends the sessions', async () => {
    const link = await linkOfNew(node, 'mallory', 'operator')
    const mallory = new Visitor(node.console)
    await mallory.usePasswordLink(link, '')
    const id = await idOf('/operators', 'mallory')
    const question = await read(`/access/operators/${id}/removal`)
    expect(question).toContain('1 session')
    expect((await mallory.get('/access')).status).toBe(200)
    const answer = await owner.post(`/access/operators/${id}/removal`, {})
    expect(answer.headers.get('location')).toBe(`/access?gone=${id}`)
    expect(await read(`/access?gone=${id}`)).toContain('The person is removed')
    expect((await mallory.get('/access')).status).toBe(303)
    expect((await owner.post(`/access/operators/${id}/removal`, {})).status).toBe(404)
  })

  test('the last owner has no button, and can not be removed', async () => {
    const id = await idOf('/operators', 'ada')
    const html = await read('/access')
    expect(html).toContain('the last owner')
    expect(html).not.toContain(`/access/operators/${id}/removal`)
    expect((await owner.get(`/access/operators/${id}/removal`)).status).toBe(409)
    expect((await owner.post(`/access/operators/${id}/removal`, {})).status).toBe(409)
    expect((await owner.get('/access')).status).toBe(200)
    // What is not true is not said.
    expect(await read(`/access?gone=${id}`)).not.toContain('is removed')
  })
})

describe('API keys', () => {
  test('one is made: shown once, it opens the API; a reload makes no second', async () => {
    const fields = await filled('/access/keys/new', { name: 'deploy', role: 'auditor', expires: '30d' })
    const answer = await owner.post('/access/keys/new', fields)
    const key = KEY.exec(await answer.text())?.[0] ?? ''
    expect(answer.status).toBe(201)
    const asked = () => fetch(`${node.console}/api/v1/servers`, { headers: { authorization: `Bearer ${key}` } })
    expect((await asked()).status).toBe(200)
    const again = await (await owner.post('/access/keys/new', fields)).text()
    expect(again).toContain('Made already')
    expect(again).not.toMatch(KEY)
    expect((await itemsOf('/apikeys')).map(({ name }) => name)).toEqual(['deploy'])
    await expectNoTrace(key)

    const id = await idOf('/apikeys', 'deploy')
    expect(await read(`/access/keys/${id}/removal`)).toContain('is refused from now on')
    expect((await asked()).status).toBe(200)
    expect((await owner.post(`/access/keys/${id}/removal`, {})).status).toBe(303)
    expect((await asked()).status).toBe(401)
    expect(await read('/access')).toContain('No API key yet')
  })

  test.each([
    ['name', { name: unknownSecret(), expires: '' }],
    ['expires', { name: 'late', expires: 'tomorrow' }],
    ['expires', { name: 'past', expires: '2020-01-01' }],
  ])('what is wrong stands beside %s', async (field, typed) => {
    const answer = await owner.post(
      '/access/keys/new',
      await filled('/access/keys/new', { ...typed, role: 'operator' }),
    )
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toContain(`id="${field}-wrong"`)
    expect(html).not.toMatch(KEY)
    expect(await itemsOf('/apikeys')).toEqual([])
  })

  test('a role of its own is none', async () => {
    const answer = await owner.post('/access/keys/new', await filled('/access/keys/new', { name: 'o', role: 'owner' }))
    expect(answer.status).toBe(400)
    expect(await itemsOf('/apikeys')).toEqual([])
  })
})

describe('sessions', () => {
  const idsOf = (html: string) => [...new Set([...html.matchAll(/id="(ses_[0-9a-f]+)"/g)].map(([, id]) => id ?? ''))]

  test('the one that looks is marked and has no button; the others end', async () => {
    const name = 'grace'
    const [first, second, third] = [new Visitor(node.console), new Visitor(node.console), new Visitor(node.console)]
    for (const visitor of [first, second, third])
      await visitor.post(
        '/sign-in',
        { name, password: PASSWORD },
        { 'user-agent': 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0' },
      )
    const html = await read('/access', first)
    expect(html).toContain('Firefox 140 on Linux')
    const [own = '', newest = ''] = idsOf(html)
    expect(html.indexOf('this one')).toBeGreaterThan(html.indexOf(own))
    expect(html).not.toContain(`/access/sessions/${own}/end`)
    expect((await first.post(`/access/sessions/${own}/end`, {})).status).toBe(409)

    expect((await first.post(`/access/sessions/${newest}/end`, {})).status).toBe(303)
    expect((await third.get('/access')).status).toBe(303)
    expect((await second.get('/access')).status).toBe(200)
    expect((await first.post('/access/sessions/others/end', {})).status).toBe(303)
    expect((await second.get('/access')).status).toBe(303)
    expect((await auditor.get('/access')).status).toBe(303)
    expect((await first.get('/access')).status).toBe(200)
    expect(await read('/access?gone=others', first)).toContain('All your other sessions are ended')
    // Nobody else's.
    expect((await operator.get('/access')).status).toBe(200)
    auditor = first
  })

  test("somebody else's is the owner's to end, after a question", async () => {
    const victim = new Visitor(node.console)
    await victim.post('/sign-in', { name: 'edsger', password: PASSWORD })
    const [, id = ''] = [...(await read('/access', victim)).matchAll(/id="(ses_[0-9a-f]+)"/g)][0] ?? []
    expect((await auditor.get(`/access/sessions/${id}/end`)).status).toBe(404)
    expect((await auditor.post(`/access/sessions/${id}/end`, {})).status).toBe(404)
    // "My others" of an owner, who sees all, are the owner's own.
    expect((await owner.post('/access/sessions/others/end', {})).status).toBe(303)
    expect(await read(`/access/sessions/${id}/end`)).toContain('End this session?')
    expect((await victim.get('/access')).status).toBe(200)
    expect((await owner.post(`/access/sessions/${id}/end`, {})).status).toBe(303)
    expect((await victim.get('/access')).status).toBe(303)
  })
})

test('long lists have pages of their own, each name once', async () => {
  for (let made = 0; made < 55; made += 1) await node.api('POST', '/apikeys', { name: `key ${made}`, role: 'auditor' })
  const beside = await read('/access')
  expect(beside).toContain('All 55 API keys')
  const names = (html: string) => [...html.matchAll(/<bdi>(key \d+)<\/bdi>/g)].map(([, name]) => name)
  expect(names(beside)).toHaveLength(20)
  const first = await read('/access/keys')
  const second = await read(/href="([^"]+)" rel="next"/.exec(first)?.[1] ?? '')
  expect(new Set([...names(first), ...names(second)]).size).toBe(55)
  expect(names(first)).toHaveLength(50)
  expect(second).not.toContain('rel="next"')
})

test('a restricted sign-in looks, and changes nobody', async () => {
  // Another process writes, and nothing waits for it: that is as good as a full disk.
  const lock = new Database(join(node.data, 'portcullis.db'))
  lock.run('BEGIN IMMEDIATE')
  const restricted = new Visitor(node.console)
  try {
    expect((await restricted.post('/sign-in', { name: 'ada', password: PASSWORD })).status).toBe(303)
  } finally {
    lock.run('ROLLBACK')
    lock.close()
  }
  const html = await read('/access', restricted)
  expect(html).toContain('may only revoke, kill and close')
  expect(html).not.toMatch(/>Remove<|>End<|Reset password|Add a person|Make an API key/)
  expect((await restricted.post('/access/operators/new', { name: 'x', role: 'owner' })).status).toBe(403)
  expect((await restricted.post('/access/sessions/others/end', {})).status).toBe(403)
  expect((await restricted.post('/audit/verification', {})).status).toBe(403)
  expect((await restricted.post('/node/keys/new', {})).status).toBe(403)
  expect(await read('/node', restricted)).not.toMatch(/Rotate<|Download a backup/)
  expect(await read('/audit', restricted)).not.toMatch(/Verify now|Download checkpoint/)
  expect((await owner.get('/access')).status).toBe(200)
})

describe('signing in', () => {
  test('repeats nothing of what was typed', async () => {
    const visitor = new Visitor(node.console)
    const html = await (await visitor.post('/sign-in', { name: 'adaa', password: 'a-wrong-password' })).text()
    expect(html).not.toContain('adaa')
    expect(html).not.toContain('a-wrong-password')
    const secret = unknownSecret()
    expect(await (await visitor.post('/sign-in', { name: secret, password: 'x' })).text()).not.toContain(secret)
  })

  test('says how long to wait after too many', async () => {
    const visitor = new Visitor(node.console)
    let html = ''
    for (let tries = 0; tries < 12; tries += 1)
      html = await (await visitor.post('/sign-in', { name: 'ada', password: 'wrong, again' })).text()
    expect(html).toContain('wait 15 minutes')
  })

  test('while nobody can, it says where the link is; a typo in it keeps the name; then come the first steps', async () => {
    await using fresh = await startNode()
    const visitor = new Visitor(fresh.console)
    const nobody = await (await visitor.get('/sign-in')).text()
    for (const text of ['Nobody can sign in yet', 'journalctl', 'docker logs', 'portcullis setup'])
      expect(nobody).toContain(text)
    expect(nobody).not.toContain('<input')
    const code = new URL(await setupLinkOf(fresh)).searchParams.get('code') ?? ''
    const typo = await visitor.post('/setup', { code, name: 'ada', password: PASSWORD, again: 'something else' })
    const html = await typo.text()
    expect(typo.status).toBe(400)
    expect(html).toContain('value="ada"')
    expect(html).not.toContain(PASSWORD)
    const done = await visitor.usePasswordLink(await setupLinkOf(fresh), 'ada')
    expect(done.headers.get('location')).toBe('/')
    expect(await (await visitor.get('/')).text()).toContain('Add a server')
  })
})
