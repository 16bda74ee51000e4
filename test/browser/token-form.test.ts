import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { AuditRowJson, TokenJson } from '../../src/server/api/schemas.ts'
import { limits } from '../../src/limits.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { linkOfNew, PASSWORD, peopleOf, setupLinkOf, Visitor } from './visitor.ts'

/** The form for a token as a browser without scripts sends it. */

let node: TestNode
let owner: Visitor
let auditor: Visitor

beforeAll(async () => {
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  await node.addServer('github', 'http://127.0.0.1:9', { headers: { Authorization: 'Bearer upstream-credential' } })
  await node.addServer('chat', 'http://127.0.0.1:9', { kind: 'http' })
})
afterAll(() => node.stop())

const JSON_TYPE = { 'Content-Type': 'application/json' }
const SECRET = /pcl_[0-9A-Za-z]{36}/
const tokensNamed = async (name: string) => {
  const { json } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
  return json.items.filter((token) => token.name === name)
}
const formIdOf = (html: string): string => /name="form" value="([^"]+)"/.exec(html)?.[1] ?? ''
/** A filled form, with the id of a page that was really asked for. */
const filled = async (fields: Record<string, string>): Promise<Record<string, string>> => ({
  form: formIdOf(await (await owner.get('/tokens/new')).text()),
  server: 'github',
  ...fields,
})

test('the answer holds the secret once shown, and is not stored', async () => {
  const answer = await owner.post('/tokens/new', await filled({ name: 'first', expires: '' }))
  const html = await answer.text()
  const secret = SECRET.exec(html)?.[0] ?? ''
  expect(answer.status).toBe(201)
  expect(answer.headers.get('cache-control')).toBe('no-store')
  expect(answer.headers.get('content-security-policy')).toStartWith("default-src 'none'")
  expect(html).not.toContain('upstream-credential')
  const [token] = await tokensNamed('first')
  expect(token).toMatchObject({ servers: ['github'], subject: null, group: null, expiresAt: null, policy: null })
  expect(token?.createdBy).toBe('operator:ada')

  // Neither a later page, nor the log, nor a file of the data folder has it.
  for (const path of ['/', '/tokens', '/tokens/new', `/tokens/${token?.id}`, `/tokens/${token?.id}/connect`]) {
    expect(await (await owner.get(path)).text()).not.toContain(secret)
  }
  expect(node.stdout() + node.stderr()).not.toContain(secret)
  const files = readdirSync(node.data, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
  expect(files.map(({ name }) => name)).toContain('portcullis.db')
  for (const { parentPath, name } of files) {
    expect(readFileSync(join(parentPath, name)).includes(secret), name).toBe(false)
  }
})

test('all that can be typed arrives', async () => {
  const typed = {
    name: 'everything',
    subject: 'dev@example.com',
    group: 'phoenix',
    expires: '2099-01-01',
    allow: ' get_*, list_? ,',
    deny: 'delete_*',
    readOnly: 'yes',
    callsPerMinute: '60',
    concurrentStreams: '2',
  }
  const tooLate = await owner.post('/tokens/new', await filled(typed))
  expect(tooLate.status).toBe(400)
  expect(await tooLate.text()).toContain('more than ten years away')
  expect((await owner.post('/tokens/new', await filled({ ...typed, expires: '2030-01-01' }))).status).toBe(201)
  const [token] = await tokensNamed('everything')
  expect(token).toMatchObject({
    subject: 'dev@example.com',
    group: 'phoenix',
    expiresAt: '2030-01-02T00:00:00.000Z',
    policy: {
      allow: ['get_*', 'list_?'],
      deny: ['delete_*'],
      readOnly: true,
      callsPerMinute: 60,
      concurrentStreams: 2,
    },
  })
  const html = await (await owner.get(`/tokens/${token?.id}`)).text()
  for (const rule of ['Only the tools get_*, list_?', 'Never the tools delete_*', 'read-only', '60 calls a minute'])
    expect(html).toContain(rule)
})

describe('sent twice', () => {
  test.each(['at once', 'by a reload'])('%s, it makes one token, and says so', async (how) => {
    const name = `twice ${how}`
    const fields = await filled({ name, expires: '1d' })
    const send = () => owner.post('/tokens/new', fields)
    const answers = how === 'at once' ? await Promise.all([send(), send()]) : [await send(), await send()]
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 201])
    const again = await answers.find(({ status }) => status === 200)?.text()
    expect(again).toContain('Made already')
    expect(again).not.toMatch(SECRET)
    const [only, ...others] = await tokensNamed(name)
    expect(others).toEqual([])
    // Where no script held the second submit back, the secret was shown to nobody: there is a way on.
    expect(again).toContain(`href="/tokens/${only?.id}/rotations/new"`)
  })

  test('also after the first was revoked, since its name is free again', async () => {
    const fields = await filled({ name: 'reloaded late' })
    await owner.post('/tokens/new', fields)
    await node.revoke({ tokens: ['reloaded late'] })
    expect(await (await owner.post('/tokens/new', fields)).text()).toContain('Made already')
    expect((await tokensNamed('reloaded late')).map(({ status }) => status)).toEqual(['revoked'])
  })

  test('with something else typed, it is another form', async () => {
    const fields = await filled({ name: 'one' })
    expect((await owner.post('/tokens/new', fields)).status).toBe(201)
    expect((await owner.post('/tokens/new', { ...fields, name: 'another' })).status).toBe(201)
  })

  test('by somebody else, it says nothing of the first', async () => {
    const fields = await filled({ name: 'of ada' })
    await owner.post('/tokens/new', fields)
    const other = new Visitor(node.console)
    await other.usePasswordLink(await linkOfNew(node, 'barbara', 'operator'), '')
    const answer = await other.post('/tokens/new', fields)
    expect(answer.status).toBe(409)
    expect(await answer.text()).not.toContain('Made already')
  })
})

describe('what is wrong is said beside it, and nothing that was typed is lost', () => {
  const good = { name: 'never made', subject: 'dev@example.com', group: 'phoenix', expires: '7d', deny: 'x_*' }
  test.each<[field: string, fields: Record<string, string>, sentence: string]>([
    ['name', { name: ' ' }, 'The name is empty.'],
    ['name', { name: 'a\u202eb' }, 'The name holds a control character.'],
    ['name', { name: 'first' }, 'A live token has that name; names of live tokens are unique.'],
    ['servers', { server: 'nothing' }, 'No server has the name given as number 1.'],
    ['subject', { subject: 'x'.repeat(101) }, 'The subject is longer than 100 characters.'],
    ['expires', { expires: 'soon' }, 'Not a time; write it like'],
    ['expires', { expires: '2020-01-01' }, 'That is in the past.'],
    ['allow', { allow: 'x'.repeat(129) }, 'A pattern of allow is longer than 128 characters.'],
    ['callsPerMinute', { callsPerMinute: 'many' }, 'Write a whole number from 1 to 10000.'],
    ['concurrentStreams', { concurrentStreams: '-1' }, 'Write a whole number from 1 to 10000.'],
  ])('%s: %o', async (field, wrong, sentence) => {
    const fields = await filled({ ...good, ...wrong })
    const answer = await owner.post('/tokens/new', fields)
    const html = await answer.text()
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(html.replaceAll(/\s+/g, ' ')).toContain(`<p id="${field}-wrong" class="wrong">${sentence}`)
    expect(html).toMatch(new RegExp(`aria-describedby="(?:${field}-hint )?${field}-wrong"`))
    for (const [name, value] of Object.entries(fields)) {
      if (name !== 'form' && name !== 'server') expect(html).toContain(`name="${name}" value="${value}"`)
    }
    expect(html).not.toMatch(SECRET)
    expect(await tokensNamed('never made')).toEqual([])
  })

  test('no server at all, and two mistakes at once', async () => {
    const { server: _, ...fields } = await filled({ ...good, expires: 'soon' })
    const html = await (await owner.post('/tokens/new', fields)).text()
    expect(html).toContain('2 fields below must be put right.')
    expect(html).toContain('Choose at least one.')
  })

  test('rules about tools where they can not be kept', async () => {
    const answer = await owner.post('/tokens/new', await filled({ ...good, server: 'chat' }))
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toMatch(/ules about tools can.*t be kept at chat/)
    expect(html).toMatch(/value="chat"[^>]* checked/)
    expect(html).toMatch(/<details open/)
  })

  test('but a secret that was pasted is not shown again', async () => {
    const secret = unknownSecret()
    const fields = await filled({ name: `my ${secret}`, subject: encodeURIComponent(`%${secret}`), expires: 'soon' })
    const answer = await owner.post('/tokens/new', fields)
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toContain('The name holds a secret; secrets are never stored')
    expect(html).not.toContain(secret)
    expect(html).toContain('name="expires" value="soon"')
  })
})

describe('who may not', () => {
  test('a stranger is led to the sign-in, and learns nothing', async () => {
    const [token] = await tokensNamed('first')
    const stranger = new Visitor(node.console)
    for (const path of ['/tokens/new', `/tokens/${token?.id}`, '/tokens/tok_x']) {
      const answer = await stranger.get(path)
      expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
    }
    expect((await stranger.post('/tokens/new', { name: 'x', server: 'github' })).status).toBe(401)
  })

  test('an auditor sees a token, and makes none', async () => {
    const [token] = await tokensNamed('first')
    const html = await (await auditor.get(`/tokens/${token?.id}`)).text()
    expect(html).toContain('operator:ada')
    expect(html).not.toMatch(/>\s*Revoke\s*</)
    expect(await (await auditor.get('/tokens')).text()).not.toContain('/tokens/new')
    expect((await auditor.get('/tokens/new')).status).toBe(403)
    expect((await auditor.post('/tokens/new', await filled({ name: 'of grace' }))).status).toBe(403)
    expect(await tokensNamed('of grace')).toEqual([])
  })

  test('another site makes none', async () => {
    const fields = await filled({ name: 'forged' })
    for (const site of ['cross-site', 'same-site', 'none']) {
      expect((await owner.post('/tokens/new', fields, { 'sec-fetch-site': site })).status).toBe(403)
    }
    expect(await tokensNamed('forged')).toEqual([])
  })

  test('who signed in while the database could not be written, makes none, and may still revoke', async () => {
    const [token] = await tokensNamed('first')
    const lock = new Database(join(node.data, 'portcullis.db'))
    lock.run('BEGIN IMMEDIATE')
    const restricted = new Visitor(node.console)
    expect((await restricted.post('/sign-in', { name: 'ada', password: PASSWORD })).status).toBe(303)
    const refused = await owner.post('/tokens/new', await filled({ name: 'not writable', subject: 'kept@example.com' }))
    lock.close()

    expect(refused.status).toBe(507)
    expect(await refused.text()).toContain('kept@example.com')
    expect(await tokensNamed('not writable')).toEqual([])
    expect(await (await restricted.get('/tokens')).text()).not.toContain('/tokens/new')
    expect((await restricted.get('/tokens/new')).status).toBe(403)
    expect((await restricted.post('/tokens/new', await filled({ name: 'restricted' }))).status).toBe(403)
    expect(await tokensNamed('restricted')).toEqual([])
    const html = await (await restricted.get(`/tokens/${token?.id}`)).text()
    expect(html).toMatch(/>\s*Revoke\s*</)
    for (const path of ['rotations/new', 'policy']) expect(html).not.toContain(`href="/tokens/${token?.id}/${path}"`)
  })
})

test('the audit log names who made a token, and holds no secret', async () => {
  const { json } = await node.api<{ items: AuditRowJson[] }>('GET', '/audit?action=token.issue&limit=1000')
  expect(json.items.find(({ targetName }) => targetName === 'first')?.actor).toBe('operator:ada')
  expect(JSON.stringify(json)).not.toMatch(SECRET)
})

test('a list of activity shows as many lines as fit a page, and says how many more there are', async () => {
  const { id, token } = await node.createToken('busy', ['github'])
  const call = (name: string) => {
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } })
    return fetch(`${node.gate}/s/github`, { method: 'POST', headers: { ...bearer(token), ...JSON_TYPE }, body })
  }
  const html = async () => (await owner.get(`/tokens/${id}`)).text()
  for (let index = 0; index < limits.activityLinesShownMax; index += 1) await call(`tool-${index}`)
  expect(await html()).not.toContain('most called are shown')
  await call('one-more')
  const shown = await html()
  expect(shown).toContain(`The ${limits.activityLinesShownMax} most called are shown; JSON and CSV have 1 more.`)
  expect(shown.match(/tool-\d+|one-more/g)?.length).toBe(limits.activityLinesShownMax)
})

test('an unknown token has no page', async () => {
  expect((await owner.get('/tokens/tok_x')).status).toBe(404)
  expect((await owner.get('/tokens/first')).status).toBe(404)
})

test('without a server there is no form', async () => {
  await using empty = await startNode()
  const visitor = new Visitor(empty.console)
  await visitor.usePasswordLink(await setupLinkOf(empty), 'ada')
  const html = await (await visitor.get('/tokens/new')).text()
  expect(html).toContain('href="/servers/new"')
  expect(html).not.toContain('action="/tokens/new"')
})
