import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { RevocationJson, TokenJson } from '../../src/server/api/schemas.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { bearer, misspelt, unknownSecret } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { makeKey } from '../api/console.ts'
import { documentOf, portcullis, type RunOptions, SOURCES } from './run.ts'

let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  echo = await startEcho()
  node = await startNode()
  await node.addServer('github', echo.url)
})
afterAll(async () => {
  await node.stop()
  echo.stop()
})

const cli = (args: string[], options: RunOptions = {}) =>
  portcullis(args, { ...options, env: { PORTCULLIS_DATA: node.data, ...options.env } })
const passes = async (secret: string) => (await fetch(`${node.gate}/s/github/`, { headers: bearer(secret) })).status

test('a token is found by its secret from stdin, in whatever line that stands', async () => {
  const { id, token } = await node.createToken('leaked', ['github'])
  for (const stdin of [token, `${token}\n`, `"GET /t/${token}/s/github/mcp HTTP/1.1" 200`, `Bearer ${token}`]) {
    const found = documentOf<TokenJson>(await cli(['token', 'show', '-', '--json'], { stdin }))
    expect(found).toMatchObject({ id, name: 'leaked', secretDiesAt: null })
  }
  expect(await passes(token)).toBe(200)
})

test('it is revoked by its secret, and that is kept nowhere', async () => {
  const { id, token } = await node.createToken('pasted', ['github'])
  const other = await node.createToken('other', ['github'])
  const dry = await cli(['revoke', '-', '--reason', 'compromised', '--dry-run'], { stdin: token })
  expect(dry.stdout).toContain(id)
  expect(await passes(token)).toBe(200)
  const ran = await cli(['revoke', '-', '--reason', 'compromised', '--json'], { stdin: `${token}\n` })
  expect(documentOf<RevocationJson>(ran).tokens).toEqual([{ id, name: 'pasted', subject: null }])
  expect(await passes(token)).toBe(401)
  expect(await passes(other.token)).toBe(200)
  for (const text of [node.stdout(), node.stderr(), ran.stdout, ran.stderr]) expect(text).not.toContain(token)
  const kept = readdirSync(node.data).filter((name) => name.startsWith('portcullis.'))
  expect(kept).toContain('portcullis.db')
  for (const name of kept) expect(readFileSync(join(node.data, name)).includes(token)).toBe(false)
})

test('a dead token is found too; one that a rotation killed takes no living token with it', async () => {
  const { id, token } = await node.createToken('rotated', ['github'])
  const answer = await node.api<{ token: string }>('POST', `/tokens/${id}/rotations`)
  const revoked = await cli(['revoke', '-', '--reason', 'compromised'], { stdin: token })
  expect(revoked.code).toBe(1)
  expect(revoked.stderr).toContain('nothing was done')
  expect(revoked.stderr).toContain(id)
  expect(await passes(answer.json.token)).toBe(200)
  await node.revoke({ tokens: [id] })
  expect((await cli(['token', 'show', '-'], { stdin: answer.json.token })).stdout).toContain('revoked')
  const again = await cli(['revoke', '-', '--reason', 'compromised'], { stdin: answer.json.token })
  expect([again.code, again.stdout, again.stderr]).toEqual([
    0,
    'Already dead: there was nothing alive to revoke.\n',
    '',
  ])
})

test('what is no secret of a token here is told apart, and repeated nowhere', async () => {
  const { token } = await node.createToken('whole', ['github'])
  const { key } = await makeKey(node, 'ci', 'auditor')
  const cut = misspelt(token)
  const unknown = unknownSecret()
  const cases: [stdin: string, said: string][] = [
    ['', 'Nothing was pasted'],
    ['hunter2', 'begins with pcl_'],
    [cut, 'checksum is wrong'],
    [unknown, 'no token and no API key'],
    [key, 'portcullis apikey rm'],
  ]
  for (const [stdin, said] of cases) {
    const ran = await cli(['revoke', '-', '--reason', 'compromised'], { stdin })
    expect([stdin, ran.code, ran.stdout]).toEqual([stdin, 1, ''])
    expect(ran.stderr).toContain(said)
    if (stdin) expect(ran.stderr).not.toContain(stdin)
  }
  const bad = await cli(['revoke', '-'], { stdin: token })
  expect(bad.code).toBe(2)
  expect(await passes(token)).toBe(200)
})

test('on a terminal it is asked for, and not shown', async () => {
  const { id, token } = await node.createToken('typed', ['github'])
  const command = [...SOURCES, '--data', node.data, 'revoke', '-', '--reason', 'compromised'].join(' ')
  const child = Bun.spawn(['script', '-qefc', command, '/dev/null'], { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' })
  let seen = ''
  for await (const chunk of child.stdout) {
    const asked = seen.includes('press Enter')
    seen += new TextDecoder().decode(chunk)
    if (asked || !seen.includes('press Enter')) continue
    child.stdin.write(`${token}\r`)
    child.stdin.flush()
  }
  expect(await child.exited).toBe(0)
  expect(seen).toContain(id)
  expect(seen).not.toContain(token)
  expect(await passes(token)).toBe(401)
})
