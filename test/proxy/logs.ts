import { expect, test } from 'bun:test'
import { eventually } from '../support/poll.ts'
import { ask, open, type RawRequest } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { curl } from './curl.ts'
import { GATE, logsOf, type Scene } from './scene.ts'

/** Ways in which a secret can come to a proxy, right and wrong ones. */
const requestsWith = (secret: string): [what: string, request: RawRequest][] => [
  ['in the path', { target: `/t/${secret}/s/raw/x?a=b` }],
  ['in the path, and again', { target: `/t/${secret}/s/raw/${secret}?a=${secret}&b=${secret}` }],
  ['in the path of the console', { target: `/t/${secret}/s/raw/x`, host: 'portcullis.example.com' }],
  ['in the path of somebody else', { target: `/t/${secret}/s/raw/x`, host: 'other.example.com' }],
  ['in the path, in full', { target: `https://mcp.example.com/t/${secret}/s/raw/x` }],
  ['in the path, encoded', { target: `/t/%70cl_${secret.slice(4)}/s/raw/x` }],
  ['in a query', { target: `/s/raw/x?token=${secret}` }],
  ['in a query, encoded', { target: `/s/raw/x?u=%2Ft%2F${secret}%2Fs` }],
  ['as a bearer', { target: '/s/raw/x', headers: bearer(secret) }],
  ['as a key', { target: '/s/raw/x', headers: { 'X-Api-Key': secret } }],
  ['where it came from', { target: '/s/raw/x', headers: { Referer: `${GATE}/t/${secret}/s/raw` } }],
  ['in a cookie', { target: '/s/raw/x', headers: { Cookie: `a=${secret}`, 'User-Agent': secret } }],
  ['in a method that is none', { method: 'GE T', target: `/t/${secret}/s/raw/x` }],
  ['in a version that is none', { target: `/t/${secret}/s/raw/x HTTP/7.9\r\nA: b\r\n\r\nGET /t/${secret}` }],
  ['with a header that is none', { target: `/t/${secret}/s/raw/x`, headers: { 'a b': secret } }],
  ['with headers that are too long', { target: `/t/${secret}/s/raw/x`, headers: { 'X-Long': 'x'.repeat(70_000) } }],
  ['in a path that is too long', { target: `/t/${secret}/s/raw/${'x'.repeat(70_000)}` }],
  [
    'with a body that is too long',
    { method: 'POST', target: `/t/${secret}/s/raw/x`, headers: { 'Content-Length': '999999999999' } },
  ],
  [
    'with two lengths',
    {
      method: 'POST',
      target: `/t/${secret}/s/raw/x`,
      headers: [
        ['Content-Length', '1'],
        ['Content-Length', '2'],
      ],
    },
  ],
  ['without a host', { target: `/t/${secret}/s/raw/x`, host: null }],
  ['by HTTP/1.0', { target: `/t/${secret}/s/raw/x`, version: '1.0' }],
]

const sendAll = async (secret: string, url: string): Promise<void> => {
  const send = async (request: RawRequest) => {
    const client = await open(url, request)
    // Some are never answered, since more of them is waited for.
    await client.done(1_000).catch(() => undefined)
    client[Symbol.dispose]()
  }
  await Promise.all(requestsWith(secret).map(([, request]) => send(request)))
}

export const testLogs = (scene: () => Scene): void => {
  test('a token in a header that is not for it reaches no server', async () => {
    const { token } = await scene().createToken('forwarded')
    const path = `/t/${token}/s/raw/x`
    const headers = {
      'X-Original-URL': path,
      'X-Rewrite-URL': path,
      'X-Forwarded-Uri': path,
      'X-Forwarded-Path': path,
      Referer: GATE + path,
    }
    const { client, upstream } = await scene().open(token, '', { headers })
    await client.done()
    expect(upstream.head.raw).not.toContain(token.slice(4))
    expect(upstream.head.names()).not.toContain('x-original-url')
    client.close()
  })

  test('no log holds a token, whatever is wrong with a request or with the gate', async () => {
    const { id, token } = await scene().createToken('logged')
    const unknown = unknownSecret()
    scene().secrets.push(unknown)
    for (const secret of [token, unknown]) await sendAll(secret, GATE)
    await sendAll(token, 'http://mcp.example.com')
    await curl(['-o', '/dev/null', `${GATE}/t/${token}/s/raw/x`]).exited
    await sendAll(token, 'http://mcp.example.com:443')

    const leaving = await scene().open(token, 'events', { target: `/t/${token}/s/raw/x` })
    leaving.client[Symbol.dispose]()
    const cut = await scene().open(token, 'text', { target: `/t/${token}/s/raw/x` })
    await scene().node.revoke({ tokens: [id] })
    await cut.client.done()
    const { token: last } = await scene().createToken('last')
    await scene().open(last, 'events', { target: `/t/${last}/s/raw/x` })

    // The gate dies in the middle of a call: that is an error, and no second call.
    const dying = await scene().open(last, 'silence', { method: 'POST', body: '{}', target: `/t/${last}/s/raw/x` })
    await eventually(() => dying.upstream.bodyComplete)
    const mark = dying.upstream.head.get('x-mark')
    scene().node.kill('SIGKILL')
    await scene().node.exited
    await dying.client.done()
    expect(dying.client.status).toBe(502)
    await sendAll(last, GATE)
    expect((await ask(GATE, { target: `/t/${last}/s/raw/x` })).status).toBeOneOf([502, 503])
    await scene().restart('SIGKILL', ['--trusted-proxy', '127.0.0.1'])
    expect(scene().raw.requests.filter((it) => it.head.get('x-mark') === mark).length).toBe(1)

    const again = await ask(GATE, { target: `/t/${last}/s/raw/x?seen` })
    expect(again.status).toBe(200)
    await eventually(async () => (await logsOf()).includes('/s/raw/x?seen'))
    const logs = await logsOf()
    expect(logs.split('\n').filter((line) => scene().secrets.some((secret) => line.includes(secret.slice(4))))).toEqual(
      [],
    )
    expect(logs).toMatch(/\/t\/\*\*\*\/s\/raw\/x\?seen|"\*\*\*\/s\/raw\/x\?seen/)
    expect(logs).toMatch(/\b50[23]\b/)
  })
}
