import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import type { AuditRowJson, TokenJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { hasChromium, launch, openPage } from './chromium.ts'
import { fieldsOf, textOf } from './text.ts'
import { PASSWORD, peopleOf, Visitor } from './visitor.ts'

/** New secrets and another policy for a token that stays. */

const SECRET = /pcl_[0-9A-Za-z]{36}/

let node: TestNode
let owner: Visitor
let auditor: Visitor
let events: Awaited<ReturnType<typeof startEvents>>

beforeAll(async () => {
  events = await startEvents({ intervalMs: 200, burst: 1 })
  node = await startNode()
  ;({ owner, auditor } = await peopleOf(node))
  await node.addServer('github', events.url)
  await node.addServer('chat', events.url, { kind: 'http' })
})
afterAll(async () => {
  await node.stop()
  events.stop()
})

const tokenOf = async (id: string) => (await node.api<TokenJson>('GET', `/tokens/${id}`)).json
const statusWith = async (secret: string) => {
  const answer = await fetch(`${node.gate}/s/github/x`, { headers: bearer(secret) })
  await answer.body?.cancel()
  return answer.status
}
const streamOf = async (secret: string) => {
  const stream = await open(node.gate, { target: '/s/github/sse', headers: bearer(secret) })
  return stream.until(({ text }) => text.includes('data:'))
}
const rotationsOf = async (id: string) => {
  const { json } = await node.api<{ items: AuditRowJson[] }>('GET', `/audit?action=token.rotate&target=${id}`)
  return json.items.length
}
/** The form as it was asked for, with what is chosen. */
const filled = async (id: string, grace: string, other = ''): Promise<Record<string, string>> => ({
  ...fieldsOf(await (await owner.get(`/tokens/${id}/rotations/new`)).text()),
  grace,
  other,
})

describe('rotating', () => {
  test('with a grace, shows the new secret once, and both work until then', async () => {
    const { id, token: old } = await node.createToken('graceful', ['github'])
    using stream = await streamOf(old)
    const fields = await filled(id, '10m')
    const answer = await owner.post(`/tokens/${id}/rotations`, fields)
    const html = await answer.text()
    const secret = SECRET.exec(html)?.[0] ?? ''
    expect(answer.status).toBe(201)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(textOf(html)).toMatch(/The old one works for another (?:10:00|9:\d\d)/)
    expect(html).toMatch(/data-left="\d{6}"/)
    expect(html).toContain(`Bearer ${secret}`)
    expect(secret).not.toBe(old)
    expect([await statusWith(old), await statusWith(secret)]).not.toContain(401)
    expect(stream.ended).toBe('open')

    // The grace shows on its page, and as a mark in the list.
    expect(textOf(await (await owner.get(`/tokens/${id}`)).text())).toMatch(/The old one works for another \d+:\d\d/)
    expect(textOf(await (await owner.get('/tokens?q=graceful')).text())).toMatch(/old secret dies in \d+:\d\d/)

    // No later page has it, nor the log, nor a file of the data folder.
    for (const path of [`/tokens/${id}`, '/tokens', `/tokens/${id}/connect`, `/tokens/${id}/rotations/new`]) {
      expect(await (await owner.get(path)).text()).not.toMatch(SECRET)
    }
    expect(node.stdout() + node.stderr()).not.toContain(secret)
    const files = readdirSync(node.data, { recursive: true, withFileTypes: true }).filter((file) => file.isFile())
    for (const { parentPath, name } of files) {
      expect(readFileSync(join(parentPath, name)).includes(secret), name).toBe(false)
    }
  })

  test('a reload, or a second submit, makes no second secret, and says what to do', async () => {
    const { id } = await node.createToken('sent twice', ['github'])
    const fields = await filled(id, '1h')
    const send = () => owner.post(`/tokens/${id}/rotations`, fields)
    const answers = await Promise.all([send(), send()])
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 201])
    const again = await send()
    const html = await again.text()
    expect(again.status).toBe(200)
    expect(html).toContain('Rotated already')
    expect(html).not.toMatch(SECRET)
    expect(html).toContain(`href="/tokens/${id}/rotations/new"`)
    expect(await rotationsOf(id)).toBe(1)
    // Another form is another rotation.
    expect((await owner.post(`/tokens/${id}/rotations`, await filled(id, '1h'))).status).toBe(201)
    expect(await rotationsOf(id)).toBe(2)
  })

  test('now is asked about first, with how many connections are cut', async () => {
    const { id, token: old } = await node.createToken('at once', ['github'])
    using stream = await streamOf(old)
    using other = await streamOf(old)
    const asked = await owner.post(`/tokens/${id}/rotations`, await filled(id, '0s'))
    const question = await asked.text()
    expect(asked.status).toBe(200)
    expect(textOf(question)).toContain('The old secret of at once, for ever, and 2 live connections with it')
    expect(question).not.toMatch(SECRET)
    expect([await rotationsOf(id), stream.ended, other.ended]).toEqual([0, 'open', 'open'])

    const fields = fieldsOf(question)
    const answer = await owner.post(`/tokens/${id}/rotations`, fields)
    const secret = SECRET.exec(await answer.text())?.[0] ?? ''
    expect(answer.status).toBe(201)
    for (const cut of [stream, other]) await cut.until((client) => client.ended !== 'open' || client.complete)
    expect(await statusWith(old)).toBe(401)
    expect(await statusWith(secret)).not.toBe(401)
    expect(textOf(await (await owner.post(`/tokens/${id}/rotations`, fields)).text())).toContain('Rotated already')
    expect(await rotationsOf(id)).toBe(1)
    // Typed, it is the same.
    const typed = await owner.post(`/tokens/${id}/rotations`, await filled(id, 'other', '0s'))
    expect(textOf(await typed.text())).toContain('Let the old secret die now?')
    expect(await rotationsOf(id)).toBe(1)
  })

  test('a grace as people type it', async () => {
    const { id } = await node.createToken('typed', ['github'])
    expect((await owner.post(`/tokens/${id}/rotations`, await filled(id, 'other', '45m'))).status).toBe(201)
    const leftMs = Date.parse((await tokenOf(id)).oldSecretDiesAt ?? '') - Date.now()
    expect(leftMs).toBeGreaterThan(44 * 60_000)
    expect(leftMs).toBeLessThanOrEqual(45 * 60_000)
    // What is in grace already dies with the next rotation, and that is said before.
    expect(textOf(await (await owner.get(`/tokens/${id}/rotations/new`)).text())).toContain(
      'An earlier rotation is not over',
    )
  })

  test.each([
    ['other', 'soon', 'Not a duration|not a duration'],
    ['other', '8d', 'longer than seven days'],
    ['other', '', 'not a duration'],
    ['nonsense', '', 'not a duration'],
  ])('%s %j is refused beside the field, and what was typed stays', async (grace, other, sentence) => {
    const { id } = await node.createToken(`refused ${grace} ${other}`, ['github'])
    const answer = await owner.post(`/tokens/${id}/rotations`, await filled(id, grace, other))
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toMatch(new RegExp(`<p id="other-wrong" class="wrong">[^<]*(?:${sentence})`))
    expect(html).toContain(`name="other" value="${other}"`)
    expect(await rotationsOf(id)).toBe(0)
  })

  test('a secret that was pasted is not shown again', async () => {
    const { id } = await node.createToken('pasted', ['github'])
    const secret = unknownSecret()
    const answer = await owner.post(`/tokens/${id}/rotations`, await filled(id, 'other', secret))
    expect(answer.status).toBe(400)
    expect(await answer.text()).not.toContain(secret)
  })
})

describe('a policy', () => {
  const RULES = {
    allow: 'get_*, list_?',
    deny: 'delete_*',
    readOnly: 'yes',
    callsPerMinute: '60',
    concurrentStreams: '2',
  }

  test('is changed in a form filled with the present one, and removed', async () => {
    const { id, token } = await node.createToken('ruled', ['github'])
    using stream = await streamOf(token)
    const before = await (await owner.get(`/tokens/${id}/policy`)).text()
    expect(textOf(before)).toContain('1 live connection of the token will be cut')
    expect(before).not.toContain('Remove the policy')

    const changed = await owner.post(`/tokens/${id}/policy`, RULES)
    expect([changed.status, changed.headers.get('location')]).toEqual([303, `/tokens/${id}`])
    const policy = {
      allow: ['get_*', 'list_?'],
      deny: ['delete_*'],
      readOnly: true,
      callsPerMinute: 60,
      concurrentStreams: 2,
    }
    expect((await tokenOf(id)).policy).toEqual(policy)
    await stream.until((client) => client.ended !== 'open' || client.complete)
    expect(stream.text).toContain('connection_killed')

    // Sent as it stands, it stays as it is.
    const form = await (await owner.get(`/tokens/${id}/policy`)).text()
    expect(form).toMatch(/name="readOnly" value="yes" checked/)
    await owner.post(`/tokens/${id}/policy`, { ...fieldsOf(form), readOnly: 'yes' })
    expect((await tokenOf(id)).policy).toEqual(policy)

    expect(form).toContain('Remove the policy')
    expect((await owner.post(`/tokens/${id}/policy`, {})).status).toBe(303)
    expect((await tokenOf(id)).policy).toBeNull()
  })

  test('that allows no tool at all does not become one that allows any', async () => {
    const { id } = await node.createToken('nothing at all', ['github'])
    await node.api('PUT', `/tokens/${id}/policy`, { allow: [] })
    await owner.post(`/tokens/${id}/policy`, fieldsOf(await (await owner.get(`/tokens/${id}/policy`)).text()))
    expect((await tokenOf(id)).policy).toMatchObject({ allow: null, deny: ['*'] })
    await node.api('PUT', `/tokens/${id}/policy`, { deny: ['a,b'] })
    expect((await owner.get(`/tokens/${id}/policy`)).status).toBe(409)
  })

  test('that is wrong is refused beside its field, and nothing changes', async () => {
    const { id } = await node.createToken('kept', ['github'])
    await owner.post(`/tokens/${id}/policy`, { callsPerMinute: '7' })
    const answer = await owner.post(`/tokens/${id}/policy`, { ...RULES, callsPerMinute: 'lots' })
    const html = await answer.text()
    expect(answer.status).toBe(400)
    expect(html).toMatch(/<p id="callsPerMinute-wrong" class="wrong">Write a whole number from 1 to 10000\./)
    expect(html).toContain('name="callsPerMinute" value="lots"')
    expect(html).toContain('name="allow" value="get_*, list_?"')
    const secret = unknownSecret()
    const pasted = await owner.post(`/tokens/${id}/policy`, { deny: secret })
    expect(pasted.status).toBe(400)
    expect(await pasted.text()).not.toContain(secret)
    const chat = await node.createToken('plain', ['chat'])
    const refused = await owner.post(`/tokens/${chat.id}/policy`, { allow: 'x' })
    expect(refused.status).toBe(400)
    expect(textOf(await refused.text())).toContain(
      "The policy stays as it was. Rules about tools can't be kept at chat",
    )
    expect((await tokenOf(id)).policy).toMatchObject({ callsPerMinute: 7, allow: null })
    expect((await tokenOf(chat.id)).policy).toBeNull()
  })
})

test('who may not, does not', async () => {
  const { id } = await node.createToken('guarded', ['github'])
  const stranger = new Visitor(node.console)
  for (const path of [`/tokens/${id}/rotations/new`, `/tokens/${id}/policy`]) {
    const answer = await stranger.get(path)
    expect([answer.status, answer.headers.get('location'), await answer.text()]).toEqual([303, '/sign-in', ''])
    expect((await auditor.get(path)).status).toBe(403)
  }
  const fields = { form: 'x', grace: '10m' }
  for (const path of [`/tokens/${id}/rotations`, `/tokens/${id}/policy`]) {
    expect((await stranger.post(path, fields)).status).toBe(401)
    expect((await auditor.post(path, fields)).status).toBe(403)
    expect((await owner.post(path, fields, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    expect((await owner.post(path.replace(id, 'tok_x'), fields)).status).toBe(404)
  }
  expect(await rotationsOf(id)).toBe(0)
  const html = await (await auditor.get(`/tokens/${id}`)).text()
  expect(html).not.toContain('/rotations')
  expect(html).not.toContain('/policy')
  await node.revoke({ tokens: [id] })
  for (const path of [`/tokens/${id}/rotations`, `/tokens/${id}/policy`]) {
    expect((await owner.post(path, fields)).status).toBe(409)
  }
})

describe.skipIf(!hasChromium())('in a browser', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser.close())

  test('rotated with a grace that counts down, here and on the page of the token', async () => {
    const { page, complaints } = await openPage(browser, { permissions: ['clipboard-read', 'clipboard-write'] })
    await page.goto(`${node.console}/sign-in`)
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${node.console}/`)
    const { id, token: old } = await node.createToken('counted down', ['github'])
    await page.goto(`${node.console}/tokens/${id}`)
    await page.getByRole('link', { name: 'Rotate' }).click()
    expect(await page.getByLabel('10 minutes').evaluate((it) => it === document.activeElement)).toBe(true)
    await page.getByLabel('Something else').check()
    await page.getByLabel('How long the old secret goes on').fill('4s')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'New secret of counted down' }).waitFor()
    const secret = await page.locator('#secret').innerText()
    await page.getByRole('button', { name: 'Copy the secret' }).click()
    await page.getByText('Copied').first().waitFor()
    expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(secret)
    const countdown = page.locator('.countdown')
    const first = await countdown.innerText()
    await eventually(async () => (await countdown.innerText()) !== first)

    await page.getByRole('link', { name: 'Back to the token' }).click()
    await page.locator('#grace').waitFor()
    // It goes away by itself when the grace is over.
    await page.locator('#grace').waitFor({ state: 'detached' })
    expect(await statusWith(old)).toBe(401)
    expect(await statusWith(secret)).not.toBe(401)
    expect(complaints).toEqual([])
  })
})
