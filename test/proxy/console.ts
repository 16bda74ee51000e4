import { afterAll, beforeAll, expect, test } from 'bun:test'
import { hasChromium, launch, openPage, refresh } from '../browser/chromium.ts'
import { PASSWORD, Visitor } from '../browser/visitor.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { curl, headers } from './curl.ts'
import { CONSOLE, type Scene } from './scene.ts'

const BOUND = 'http://127.0.0.1:7071'

const statusOf = async (args: string[]): Promise<number> => {
  const asked = curl(['-o', '/dev/null', '-w', '%{http_code}', ...args])
  await asked.exited
  return Number(asked.text())
}

export const testConsole = (scene: () => Scene): void => {
  test('the console sets its cookie for TLS alone, and takes writes from its own pages alone', async () => {
    const { json } = await scene().node.api<{ url: string }>('POST', '/setup-links')
    expect(json.url).toStartWith(`${CONSOLE}/setup?code=`)
    const owner = new Visitor(CONSOLE)
    const entered = await owner.usePasswordLink(json.url, 'ada')
    expect(entered.headers.get('set-cookie')).toMatch(/; HttpOnly; SameSite=Strict; Secure$/)
    expect((await owner.get('/')).status).toBe(200)
    expect((await owner.get('/', { 'hx-request': 'true', 'x-live': '1' })).status).toBe(200)
    const fields = { name: 'eve', role: 'owner' }
    expect((await owner.post('/operators', fields, { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    const fromElsewhere = { cookie: owner.cookie, origin: 'https://evil.example.com' }
    expect(await statusOf([...headers(fromElsewhere), '--data', 'name=eve', `${CONSOLE}/operators`])).toBe(403)
    const fromClearText = { cookie: owner.cookie, origin: CONSOLE.replace('https', 'http') }
    expect(await statusOf([...headers(fromClearText), '--data', 'name=eve', `${CONSOLE}/operators`])).toBe(403)
    expect((await owner.get('/api/v1/tokens')).status).toBe(200)
  })

  test('metrics are for this machine, and not for the world behind the proxy', async () => {
    expect(await statusOf([`${CONSOLE}/metrics`])).toBe(404)
    expect(await statusOf(['--path-as-is', `${CONSOLE}/./metrics`])).toBeOneOf([400, 401, 404])
    expect(await statusOf([`${CONSOLE}/%6detrics`])).toBeOneOf([401, 404])
    expect(await statusOf([`${CONSOLE}//metrics`])).toBeOneOf([303, 401, 404])
    expect(await statusOf([`${BOUND}/metrics`])).toBe(200)
    expect(await statusOf(['http://localhost:7071/metrics'])).toBe(200)
    // What a proxy leaves that sets less than ours do.
    const passedOn: Record<string, string>[] = [
      { Host: 'portcullis.example.com' },
      { Host: '192.0.2.1' },
      { 'X-Forwarded-For': '127.0.0.1' },
      { Forwarded: 'for=127.0.0.1' },
      { 'X-Forwarded-Proto': 'https' },
      { 'X-Real-IP': '127.0.0.1' },
      { Via: '1.1 somewhere' },
    ]
    for (const sent of passedOn) expect(await statusOf([...headers(sent), `${BOUND}/metrics`])).toBe(401)
    const { json } = await scene().node.api<{ key: string }>('POST', '/apikeys', {
      name: 'prometheus',
      role: 'auditor',
    })
    expect(await statusOf([...headers({ ...bearer(json.key), Via: '1.1 x' }), `${BOUND}/metrics`])).toBe(200)
  })

  if (!hasChromium()) return

  let browser: Awaited<ReturnType<typeof launch>>
  beforeAll(async () => {
    browser = await launch()
  })
  afterAll(() => browser?.close())

  test('somebody signs in with a browser, sees a stream appear, and kills its token', async () => {
    const { page, complaints } = await openPage(browser, { ignoreHTTPSErrors: true })
    await page.goto(CONSOLE)
    await page.getByLabel('Name').fill('ada')
    await page.getByLabel('Password').fill(PASSWORD)
    await page.keyboard.press('Enter')
    await page.waitForURL(`${CONSOLE}/`)
    await page.goto(`${CONSOLE}/tokens`)
    const { id, token } = await scene().createToken('Cursor IDE')
    const { client, upstream } = await scene().open(token, 'events')
    upstream.chunk('data: 1\n\n')
    await refresh(page)
    await page.locator(`#revoke-${id}`).click()
    await page.locator('dialog button.danger').click()
    await page.waitForURL('**/revocations/rev_*')
    expect(await page.innerText('main')).toContain('1 connection was cut')
    await client.done()
    expect(client.text).toContain('token_revoked')
    await eventually(() => upstream.closedAt !== null)
    const next = await ask(`https://mcp.example.com`, { target: '/s/raw/x', headers: bearer(token) })
    expect(next.status).toBe(401)
    expect(complaints).toEqual([])
  })
}
