import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { TSchema } from '@sinclair/typebox'
import { chmodSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import * as schemas from '../../src/server/api/schemas.ts'
import { makeKey } from '../api/console.ts'
import { expectShape } from '../api/shape.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { documentOf, portcullis, type RunOptions } from './run.ts'
import { tempFolder } from '../support/temp.ts'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
let events: Awaited<ReturnType<typeof startEvents>>
beforeAll(async () => {
  echo = await startEcho()
  events = await startEvents({ intervalMs: 20 })
  node = await startNode()
})
afterAll(async () => {
  await node.stop()
  echo.stop()
  events.stop()
})

const cli = (args: string[], options: RunOptions = {}) => portcullis([...args, '--data', node.data], options)
const done = async (args: string[], options?: RunOptions): Promise<string> => {
  const { code, stdout, stderr } = await cli(args, options)
  expect([args, code, stderr]).toEqual([args, 0, ''])
  return stdout
}
/** One JSON document of the API's own shape. */
const json = async <T>(args: string[], schema: TSchema, options?: RunOptions): Promise<T> => {
  const ran = await cli([...args, '--json'], options)
  expect([args, ran.code, ran.stderr]).toEqual([args, 0, ''])
  const document = documentOf<T>(ran)
  expectShape(schema, document)
  return document
}
const fails = async (args: string[], says: RegExp | string, options?: RunOptions) => {
  const { code, stdout, stderr } = await cli(args, options)
  expect([args, code, stdout]).toEqual([args, 1, ''])
  expect(stderr).toMatch(says)
  expect(stderr).not.toMatch(/\n\s+at |\[object/)
}
const statusOf = async (secret: string, server: string) => {
  const client = await open(node.gate, { target: `/s/${server}/x`, headers: bearer(secret) })
  await client.until(({ head }) => head !== null)
  client.close()
  return client.status
}
type Issued = { id: string; token: string }

describe('servers', () => {
  test('add, list, show, remove', async () => {
    const added = await json<{ name: string; url: string }>(
      ['server', 'add', 'echo', echo.url, '--kind', 'http', '--path', '/v1'],
      schemas.ServerCreated,
    )
    expect(added).toMatchObject({
      name: 'echo',
      url: `${echo.url}/`,
      kind: 'http',
      path: '/v1',
      publicUrl: `${node.gate}/s/echo/v1`,
    })
    expect(await done(['server', 'add', 'events', events.url])).toContain(`${node.gate}/s/events`)
    const list = await json<{ items: { name: string }[] }>(['server', 'ls'], schemas.ServerPage)
    expect(list.items.map(({ name }) => name)).toEqual(['echo', 'events'])
    expect((await node.api('GET', '/servers')).json).toEqual(list)
    expect(await done(['server', 'ls'])).toMatch(/^NAME .*\necho .*\nevents .*\n$/)
    expect(await json<object>(['server', 'show', 'echo'], schemas.Server)).toEqual(
      (await node.api<object>('GET', '/servers/echo')).json,
    )
    await done(['server', 'add', 'short', 'http://127.0.0.1:1'])
    await json(['server', 'rm', 'short'], schemas.Cut)
    await fails(['server', 'show', 'short'], 'no server')
    await fails(['server', 'rm', 'short'], 'no server')
    await fails(['server', 'add', 'echo', echo.url], /already/)
    await fails(['server', 'add', 'x', 'http://169.254.169.254'], /link-local/)
    await fails(['server', 'show', '..'], /\.\./)
  })

  test('headers from a file, from stdin, and typed', async () => {
    const file = join(tempFolder(), 'key')
    writeFileSync(file, 'from a file\n')
    const args = [
      'server',
      'add',
      'headers',
      echo.url,
      '--header',
      `X-File: @${file}`,
      '--header',
      'X-Stdin: -',
      '--header',
      'X-Typed: typed: with colon',
    ]
    const { stdout, stderr, code } = await cli([...args, '--json'], { stdin: 'from stdin\n' })
    expect([code, stderr]).toEqual([0, ''])
    expect(JSON.parse(stdout)).toMatchObject({ headers: { 'X-File': '***', 'X-Stdin': '***', 'X-Typed': '***' } })
    const { token } = await node.createToken('of headers', ['headers'])
    await ask(node.gate, { target: '/s/headers/x', headers: bearer(token) })
    const { head } = echo.last() ?? {}
    expect(['x-file', 'x-stdin', 'x-typed'].map((name) => head?.get(name))).toEqual([
      'from a file',
      'from stdin',
      'typed: with colon',
    ])
    await fails(['server', 'add', 'y', echo.url, '--header', 'X-File: @/nonexistent/key'], /nonexistent/)
    const secret = 'only-a-secret-4711'
    const wrong = await cli(['server', 'add', 'y', echo.url, '--header', secret])
    expect([wrong.code, wrong.stderr.includes(secret)]).toEqual([2, false])
    expect((await node.api('GET', '/servers/y')).status).toBe(404)
  })

  test('kill, close, open', async () => {
    const { token } = await node.createToken('streams', ['events'])
    const stream = await open(node.gate, { target: '/s/events/x', headers: bearer(token) })
    await stream.until(({ text }) => text.includes('data:'))
    expect(await json<object>(['server', 'kill', 'events'], schemas.Cut)).toMatchObject({ cut: 1, durable: true })
    await stream.done()
    expect(stream.text).toContain('connection_killed')
    expect(await statusOf(token, 'events')).toBe(200)
    expect(await json<object>(['server', 'close', 'events', '--reason', 'why not'], schemas.GateState)).toMatchObject({
      state: 'closed',
      reason: 'why not',
    })
    expect(await statusOf(token, 'events')).toBe(503)
    await json(['server', 'open', 'events'], schemas.GateState)
    expect(await statusOf(token, 'events')).toBe(200)
    await done(['server', 'close', '--all'])
    expect(await statusOf(token, 'events')).toBe(503)
    await done(['server', 'open', '--all'])
    expect(await statusOf(token, 'events')).toBe(200)
    await fails(['server', 'close', 'nowhere'], /no server/)
  })
})

describe('tokens', () => {
  test('create, list, show, rotate', async () => {
    const created = await json<Issued>(
      [
        'token',
        'create',
        'Cursor IDE',
        '--server',
        'echo,events',
        '--subject',
        'dev@example.com',
        '--group',
        'g',
        '--expires',
        '30d',
      ],
      schemas.TokenIssued,
    )
    expect(created).toMatchObject({
      name: 'Cursor IDE',
      servers: ['echo', 'events'],
      subject: 'dev@example.com',
      group: 'g',
      status: 'active',
    })
    expect(await statusOf(created.token, 'echo')).toBe(200)
    const text = await done([
      'token',
      'create',
      'shown',
      '--server',
      'echo',
      '--server',
      'events',
      '--expires',
      '2030-12-31',
    ])
    expect(text).toMatch(/^pcl_\w{36}$/m)
    expect(text).toContain('2031-01-01T00:00:00.000Z')
    for (const args of [
      ['token', 'ls'],
      ['token', 'show', 'shown'],
      ['token', 'show', created.id],
    ])
      expect(await done(args)).not.toContain('pcl_')
    expect(await json<object>(['token', 'show', 'Cursor IDE'], schemas.Token)).toMatchObject({ id: created.id })
    await json(['token', 'ls'], schemas.TokenPage)

    const graced = await json<Issued & { oldSecretDiesAt: string }>(
      ['token', 'rotate', created.id, '--grace', '10m'],
      schemas.TokenIssued,
    )
    const graceMs = Date.parse(graced.oldSecretDiesAt) - Date.now()
    expect([graced.id, graceMs > 590_000, graceMs <= 600_000]).toEqual([created.id, true, true])
    expect([await statusOf(created.token, 'echo'), await statusOf(graced.token, 'echo')]).toEqual([200, 200])
    const atOnce = await json<Issued>(['token', 'rotate', 'Cursor IDE'], schemas.TokenIssued)
    expect([
      await statusOf(created.token, 'echo'),
      await statusOf(graced.token, 'echo'),
      await statusOf(atOnce.token, 'echo'),
    ]).toEqual([401, 401, 200])
    await fails(['token', 'create', 'shown', '--server', 'echo'], /unique|called/)
    await fails(['token', 'create', 'x', '--server', 'nowhere'], /server/)
    await fails(['token', 'create', 'x', '--server', 'echo', '--expires', '2020-01-01'], /past/)
    await fails(['token', 'show', 'nothing'], /no token/)
  })
})

describe('revoke', () => {
  const create = (name: string, extra: Record<string, unknown> = {}) => node.createToken(name, ['events'], extra)

  test('one, with its receipt', async () => {
    const one = await create('one')
    const stream = await open(node.gate, { target: '/s/events/x', headers: bearer(one.token) })
    await stream.until(({ text }) => text.includes('data:'))
    const revocation = await json<{ id: string }>(
      ['revoke', one.id, '--reason', 'compromised', '--note', 'a note'],
      schemas.Revocation,
    )
    expect(revocation).toMatchObject({
      reason: 'compromised',
      note: 'a note',
      actor: `local:${process.getuid?.()}`,
      connections: { cut: 1 },
      tokens: [{ id: one.id }],
    })
    await stream.done()
    expect(await statusOf(one.token, 'events')).toBe(401)
    // Dead already: done. Never was: refused.
    expect(await done(['revoke', one.id, '--reason', 'other'])).toMatch(/already dead/i)
    await fails(['revoke', 'never', '--reason', 'other'], /no token/)
    await fails(['revoke', '--subject', 'nobody', '--reason', 'other'], /subject/)
    expect(await done(['revoke', (await create('text')).name, '--reason', 'policy'])).toMatch(
      /Revoked 1 token \(policy\)[^]*cut 0 connections/,
    )
  })

  test('more than one needs --yes where nobody can be asked', async () => {
    const many = [
      await create('many 1', { subject: 'Many@example.com' }),
      await create('many 2', { subject: 'many@example.com' }),
    ]
    await fails(['revoke', '--subject', 'many@example.com', '--reason', 'offboarding'], /2 tokens would die.*--yes/)
    await fails(['revoke', '--subject', 'many@example.com', '--reason', 'offboarding'], /--yes/, { stdin: 'yes\n' })
    await fails(['revoke', ...many.map(({ id }) => id), '--reason', 'offboarding'], /--yes/)
    const dry = await json<object>(
      ['revoke', '--subject', 'many@example.com', '--reason', 'offboarding', '--dry-run'],
      schemas.Revocation,
    )
    expect(dry).toMatchObject({ dryRun: true, tokens: [{ name: 'many 1' }, { name: 'many 2' }] })
    for (const { token } of many) expect(await statusOf(token, 'events')).toBe(200)
    const text = await done([
      'revoke',
      '--subject',
      'many@example.com',
      '--server',
      'events',
      '--reason',
      'offboarding',
      '--yes',
    ])
    expect(text).toMatch(/Revoked 2 tokens/)
    for (const { token } of many) expect(await statusOf(token, 'events')).toBe(401)
  })

  test('--group, --issued-before, --all', async () => {
    const grouped = await create('grouped', { group: 'Phoenix' })
    await done(['revoke', '--group', 'PHOENIX', '--reason', 'other'])
    expect(await statusOf(grouped.token, 'events')).toBe(401)
    const [early, late] = [await create('early'), await create('late')]
    const between =
      late.createdAt > early.createdAt ? late.createdAt : new Date(Date.parse(late.createdAt) + 1).toISOString()
    await done(['revoke', 'early', 'late', '--issued-before', between, '--reason', 'other', '--yes'])
    expect(await statusOf(early.token, 'events')).toBe(401)
    const rest = await create('rest')
    await done(['revoke', '--all', '--reason', 'other', '--yes'])
    expect(await statusOf(rest.token, 'events')).toBe(401)
    await fails(['revoke', '--issued-before', 'yesterday', '--all', '--reason', 'other'], /issuedBefore|issued-before/)
  })
})

test('connections', async () => {
  const { token } = await node.createToken('connected', ['events'], { subject: 'someone' })
  const stream = await open(node.gate, {
    target: '/s/events/x',
    headers: { ...bearer(token), 'User-Agent': 'evil\u009b31m' },
  })
  await stream.until(({ text }) => text.includes('data:'))
  const { items } = await json<{ items: { id: string }[] }>(['connections'], schemas.ConnectionPage)
  expect(items).toMatchObject([{ server: 'events', token: { name: 'connected', subject: 'someone' } }])
  const text = await done(['connections'])
  expect(text).toContain('connected')
  // oxlint-disable-next-line no-control-regex
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  await json(['connection', 'kill', items[0]?.id ?? ''], schemas.Cut)
  await stream.done()
  await fails(['connection', 'kill', items[0]?.id ?? ''], /no live connection/)
  expect(await done(['connections'])).toMatch(/nothing/i)
})

test('the audit: shown, exported, checkpoint', async () => {
  const page = await json<{ items: { sequence: number }[]; next: null }>(['audit'], schemas.AuditPage)
  expect(page.next).toBeNull()
  const shown = await done(['audit', '--limit', '3'])
  expect(shown.trimEnd().split('\n')).toHaveLength(3)
  const lines = (await done(['audit', 'export', '--format', 'jsonl']))
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { sequence: number })
  // What was folded is written when a minute ends, and may have come in between.
  expect(lines.slice(0, page.items.length)).toEqual(page.items)
  await node.createToken('=cmd|calc', ['events'], { subject: 'a,"b"' })
  const csv = await done(['audit', 'export', '--format', 'csv'])
  const records = csv.trimEnd().split('\r\n')
  const sequences = records.slice(1).map((record) => Number(record.split(',')[0]))
  expect(sequences.length).toBeGreaterThan(lines.length)
  expect(sequences.slice(0, lines.length)).toEqual(lines.map(({ sequence }) => sequence))
  expect(records[0]).toStartWith('sequence,time,node,actor,action')
  expect(csv).toContain("'=cmd|calc")
  expect(csv).not.toMatch(/(^|,)=cmd/m)
  expectShape(schemas.Checkpoint, JSON.parse(await done(['audit', 'checkpoint'])))
})

test('the audit: what the options choose of it, shown and exported', async () => {
  type Rows = { items: { sequence: number; action: string; targetName: string; time: string }[] }
  const { id } = await node.createToken('chosen', ['events'])
  await node.createToken('other', ['events'])
  await node.revoke({ tokens: [id] })
  const chosen = await json<Rows>(['audit', '--target', 'chosen', '--action', 'token.'], schemas.AuditPage)
  expect(chosen.items.map(({ action }) => action)).toEqual(['token.issue', 'token.revoke'])
  const ofId = await json<Rows>(['audit', '--target', id, '--action', 'token.revoke'], schemas.AuditPage)
  expect(ofId.items).toEqual(chosen.items.slice(1))
  const [issued, revoked] = chosen.items.map(({ time }) => time)
  const shown = await done(['audit', '--target', 'chosen', '--until', String(revoked), '--since', String(issued)])
  expect(shown).toContain('token.issue')
  expect(shown).not.toContain('token.revoke')
  expect(await done(['audit', '--actor', 'nobody'])).toContain('matches')
  const lines = (await done(['audit', 'export', '--format', 'jsonl', '--target', 'chosen', '--since', '1h'])).split(
    '\n',
  )
  expect(lines.slice(0, -1).map((line) => JSON.parse(line) as object)).toEqual(chosen.items)
  const csv = await done(['audit', 'export', '--format', 'csv', '--actor', 'nobody'])
  expect(csv).toBe('sequence,time,node,actor,action,targetId,targetName,reason,details,previousHash,hash\r\n')
  expect(await json<Rows>(['audit', 'export', '--target', 'chosen'], schemas.AuditPage)).toEqual(chosen)
  await fails(['audit', '--since', 'yesterday'], /since/)
  await fails(['audit', 'export', '--format', 'csv', '--until', 'soon'], /until/)
})

describe('API keys and --url', () => {
  const remote = (args: string[], key: string) =>
    portcullis([...args, '--url', node.console], { env: { PORTCULLIS_API_KEY: key } })

  test('create, use, list, remove', async () => {
    const { id, key } = await json<{ id: string; key: string }>(
      ['apikey', 'create', 'ci', '--role', 'operator', '--expires', '30d'],
      schemas.ApiKeyIssued,
    )
    expect(await done(['apikey', 'ls'])).not.toContain('pca_')
    await json(['apikey', 'ls'], schemas.ApiKeyPage)
    const made = await remote(['token', 'create', 'remote', '--server', 'events', '--json'], key)
    expect([made.code, made.stderr]).toEqual([0, ''])
    expect(documentOf<object>(made)).toMatchObject({ createdBy: 'apikey:ci' })
    const refused = await remote(['operator', 'create', 'Eve', '--role', 'owner'], key)
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('owner')])
    expect(await done(['apikey', 'rm', id])).toContain('removed')
    const gone = await remote(['token', 'ls'], key)
    expect([gone.code, gone.stdout, gone.stderr.includes(key)]).toEqual([1, '', false])
    await fails(['apikey', 'rm', id], /no API key/)
  })

  test('a key is not sent along a redirect', async () => {
    const { key } = await makeKey(node, 'redirected', 'auditor')
    let seen = 0
    const elsewhere = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => {
        seen += 1
        return Response.json({ items: [], next: null })
      },
    })
    const away = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => Response.redirect(`http://127.0.0.1:${elsewhere.port}/`),
    })
    const ran = await portcullis(['token', 'ls', '--url', `http://127.0.0.1:${away.port}`], {
      env: { PORTCULLIS_API_KEY: key },
    })
    expect([ran.code, seen]).toEqual([1, 0])
    away.stop(true)
    elsewhere.stop(true)
  })
})

test('operators', async () => {
  const created = await json<{ link: { url: string } }>(
    ['operator', 'create', 'Ada Lovelace', '--role', 'auditor'],
    schemas.OperatorCreated,
  )
  expect(created.link.url).toStartWith(`${node.console}/setup?code=`)
  const reset = await json<{ url: string }>(['operator', 'reset', 'Ada Lovelace'], schemas.Link)
  expect(reset.url).not.toBe(created.link.url)
  const { code, stdout } = await cli(['operator', 'reset', 'Ada Lovelace'])
  expect([code, stdout]).toEqual([0, expect.stringMatching(/^http\S+\/setup\?code=\S+$/m)])
  await json(['operator', 'ls'], schemas.OperatorPage)
  await done(['operator', 'rm', 'Ada Lovelace'])
  await fails(['operator', 'reset', 'Ada Lovelace'], /no operator/)
  await json(['setup'], schemas.Link)
})

test('keys: rotate, refuse to remove one in use, remove', async () => {
  type Ring = { items: { id: string; current: boolean; liveTokens: number }[] }
  const before = await json<Ring>(['key', 'ls'], schemas.RingKeyPage)
  const old = before.items[0]?.id ?? ''
  const [first, second] = [
    await node.createToken('under old 1', ['echo']),
    await node.createToken('under old 2', ['echo']),
  ]
  await json(['key', 'rotate'], schemas.RingKey)
  const fresh = await node.createToken('under new', ['echo'])
  const after = await json<Ring>(['key', 'ls'], schemas.RingKeyPage)
  expect(after.items.map(({ current }) => current)).toEqual([false, true])
  expect(await statusOf(first.token, 'echo')).toBe(200)
  await fails(['key', 'rm', after.items[1]?.id ?? ''], /current/)
  await fails(['key', 'rm', old], /live tokens/)
  await fails(['key', 'rm', 'k0000000000'], /no key/)
  await fails(['key', 'rm', old, '--revoke'], /--yes/)
  expect([await statusOf(first.token, 'echo'), await statusOf(second.token, 'echo')]).toEqual([200, 200])
  const removed = await json<{ id: string; revocation: { reason: string } }>(
    ['key', 'rm', old, '--revoke', '--yes'],
    schemas.KeyRemoved,
  )
  expect(removed).toMatchObject({ id: old, revocation: { reason: 'rotation' } })
  expect(await Promise.all([first, second, fresh].map(({ token }) => statusOf(token, 'echo')))).toEqual([401, 401, 200])
  // What was sealed under the old key still reaches the server.
  const { token } = await node.createToken('sealed', ['headers'])
  await ask(node.gate, { target: '/s/headers/x', headers: bearer(token) })
  expect(echo.last()?.head.get('x-file')).toBe('from a file')
  expect((await json<Ring>(['key', 'ls'], schemas.RingKeyPage)).items.map(({ current }) => current)).toEqual([true])
})

test('healthcheck and doctor', async () => {
  expect(await done(['healthcheck'])).toContain('ready')
  await json(['healthcheck'], schemas.Node)
  const ran = await cli(['doctor', '--json'])
  const { ok, checks } = documentOf<{ ok: boolean; checks: { check: string; level: string }[] }>(ran)
  expect(ran.code).toBe(ok ? 0 : 1)
  for (const check of ['data folder', 'key file', 'database'])
    expect(checks).toContainEqual(
      expect.objectContaining({
        check,
        level: 'ok',
      }),
    )
  chmodSync(join(node.data, 'portcullis.key'), 0o644)
  const broken = await cli(['doctor'])
  chmodSync(join(node.data, 'portcullis.key'), 0o600)
  expect(broken.code).toBe(1)
  expect(broken.stdout).toContain(`chmod 600 ${join(node.data, 'portcullis.key')}`)
})
