import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync } from 'node:fs'
import { createServer, connect } from 'node:net'
import { join } from 'node:path'
import type { AuditRowJson } from '../../src/server/api/schemas.ts'
import { cookieOf, makeOperator, postForm, setUp, signIn } from '../api/session.ts'
import { documentOf, portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { tempFolder } from '../support/temp.ts'

const PASSWORD = 'correct horse Qx4711zZ'
const NEW_PASSWORD = 'another battery Qx4711zZ'

const cli = (node: TestNode, ...args: string[]) => portcullis([...args, '--data', node.data])
const linkIn = (text: string): string => /^http\S+\/setup\?code=\S+$/m.exec(text)?.[0] ?? ''
const codeOf = (link: string) => new URL(link).searchParams.get('code') ?? ''
const use = (node: TestNode, link: string, password = PASSWORD, name = 'ada') =>
  postForm(node, '/setup', { code: codeOf(link), name, password, again: password })
const lives = async (node: TestNode, cookie: string | null) =>
  (await fetch(`${node.console}/api/v1/tokens`, { headers: { cookie: cookie ?? '' } })).status === 200
const statusOf = async (node: TestNode, name: string, password: string) =>
  (await postForm(node, '/sign-in', { name, password })).status
const rows = async (node: TestNode, action: string) =>
  (await node.api<{ items: AuditRowJson[] }>('GET', `/audit?limit=1000&action=${action}`)).json.items
const reset = async (node: TestNode, name: string) => linkIn((await cli(node, 'operator', 'reset', name)).stdout)

describe('before there is an owner', () => {
  let node: TestNode
  beforeAll(async () => {
    node = await startNode()
  })
  afterAll(() => node.stop())

  test('a link that was lost is made anew, and only the newest opens', async () => {
    const first = /http\S+code=\S+/.exec(node.stdout())?.[0] ?? ''
    const second = await cli(node, 'setup')
    const third = await cli(node, 'setup')
    expect([first, linkIn(second.stdout), linkIn(third.stdout)].every((link) => link.startsWith(node.console))).toBe(
      true,
    )
    for (const link of [first, linkIn(second.stdout)]) {
      const page = await fetch(link)
      expect([page.status, await page.text()]).toEqual([403, expect.stringContaining('portcullis setup')])
      expect(cookieOf(await use(node, link))).toBeNull()
    }
    expect((await fetch(linkIn(third.stdout))).status).toBe(200)
    expect((await rows(node, 'operator.link')).map(({ actor }) => actor)).toEqual([
      'system',
      `local:${process.getuid?.()}`,
      `local:${process.getuid?.()}`,
    ])
  })

  test('how to open it from another machine is said beside it, and the link alone is on stdout', async () => {
    const { stdout, stderr } = await cli(node, 'setup')
    const { port } = new URL(node.console)
    expect(stdout.trim().split('\n')).toEqual([
      expect.stringMatching(/^Open this link to make the first owner\. It works once, until /),
      '',
      expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/setup\?code=[\w-]{32}$/),
    ])
    expect(stderr).toMatch(new RegExp(`^ {2}ssh -L ${port}:127\\.0\\.0\\.1:${port} \\S+$`, 'm'))
    const json = await cli(node, 'setup', '--json')
    expect(json.stderr).toBe('')
    expect(linkIn(documentOf<{ url: string }>(json).url)).toStartWith(node.console)
  })

  test('through such a tunnel the link works, whatever port it comes out at', async () => {
    const { hostname, port } = new URL(node.console)
    const tunnel = createServer((socket) => void socket.pipe(connect(Number(port), hostname)).pipe(socket)).listen(
      0,
      '127.0.0.1',
    )
    await new Promise((resolve) => tunnel.once('listening', resolve))
    const at = tunnel.address()
    const base = `http://127.0.0.1:${typeof at === 'object' ? at?.port : 0}`
    const code = codeOf(linkIn((await cli(node, 'setup')).stdout))
    expect((await fetch(`${base}/setup?code=${code}`)).status).toBe(200)
    // As curl would, which has no Fetch Metadata.
    const answer = await fetch(`${base}/setup`, {
      method: 'POST',
      redirect: 'manual',
      headers: { origin: base },
      body: new URLSearchParams({ code, name: 'ada', password: PASSWORD, again: PASSWORD }),
    })
    expect(answer.status).toBe(303)
    expect(await lives(node, cookieOf(answer))).toBe(true)
    tunnel.close()
    const again = await cli(node, 'setup')
    expect([again.code, again.stdout]).toEqual([1, ''])
    expect(again.stderr).toContain('portcullis operator reset NAME')
  })
})

test.each([
  [['--console', '0.0.0.0:0'], /^From another machine, put this one's IP address in place of localhost\.$/m],
  [['--console-url', 'https://console.example.com'], /^$/],
])('where the console is bound elsewhere, so says %j', async (args, said) => {
  await using node = await startNode({ args })
  const { code, stderr } = await cli(node, 'setup')
  expect(code).toBe(0)
  expect(stderr).toMatch(said)
})

describe('an owner', () => {
  let node: TestNode
  let cookie: string
  beforeAll(async () => {
    node = await startNode()
    cookie = await setUp(node, 'ada', PASSWORD)
  })
  afterAll(() => node.stop())

  test('who forgot the password sets another by the newest link alone; then the old password and sessions are dead', async () => {
    const links = [await reset(node, 'ada'), await reset(node, 'ada')] as const
    expect((await rows(node, 'operator.link')).at(-1)).toMatchObject({
      actor: `local:${process.getuid?.()}`,
      targetName: 'ada',
    })
    // A link that never arrives locks nobody out.
    expect([await lives(node, cookie), await statusOf(node, 'ada', PASSWORD)]).toEqual([true, 303])
    expect((await use(node, links[0], NEW_PASSWORD)).status).toBe(403)
    const entered = await use(node, links[1], NEW_PASSWORD)
    expect(entered.status).toBe(303)
    expect(await lives(node, cookie)).toBe(false)
    expect([await statusOf(node, 'ada', PASSWORD), await statusOf(node, 'ada', NEW_PASSWORD)]).toEqual([401, 303])
    for (const link of links) {
      const answer = await use(node, link, 'yet another one 0815')
      expect([answer.status, await answer.text()]).toEqual([
        403,
        expect.stringContaining('portcullis operator reset NAME'),
      ])
    }
    expect(await statusOf(node, 'ada', NEW_PASSWORD)).toBe(303)
    cookie = cookieOf(entered) as string
  })

  test('of two that use a link at once, one gets it', async () => {
    const link = await reset(node, 'ada')
    const answers = await Promise.all([use(node, link, NEW_PASSWORD), use(node, link, `${NEW_PASSWORD} too`)])
    expect(answers.map(({ status }) => status).toSorted()).toEqual([303, 403])
    const winner = answers[0]?.status === 303 ? NEW_PASSWORD : `${NEW_PASSWORD} too`
    expect(await statusOf(node, 'ada', winner)).toBe(303)
    await use(node, await reset(node, 'ada'), PASSWORD)
  })

  test('who is held off after too many tries gets in by a link at once, and the address may try again', async () => {
    const heldOff = await eventually(
      async () => {
        const answer = await postForm(node, '/sign-in', { name: 'ada', password: 'wrong-0815' })
        return answer.status === 429 ? answer : null
      },
      { timeoutMs: 20_000 },
    )
    expect(await heldOff.text()).toMatch(/wait 15 minutes, or use a link made with: portcullis operator reset NAME/)
    expect(await statusOf(node, 'ada', PASSWORD)).toBe(429)
    // Guessing at links is held off just as well.
    expect((await use(node, `${node.console}/setup?code=guessed`)).status).toBe(429)
    expect((await use(node, await reset(node, 'ada'), NEW_PASSWORD)).status).toBe(303)
    expect(await statusOf(node, 'ada', NEW_PASSWORD)).toBe(303)
  })

  test('who left takes no link along: removed, it is dead, also for another of the same name', async () => {
    await makeOperator(node, 'bob', 'owner', PASSWORD)
    const old = await reset(node, 'bob')
    expect((await cli(node, 'operator', 'rm', 'bob')).code).toBe(0)
    await node.api('POST', '/operators', { name: 'bob', role: 'auditor' })
    expect((await fetch(old)).status).toBe(403)
    const answer = await use(node, old, NEW_PASSWORD)
    expect([answer.status >= 400, cookieOf(answer)]).toEqual([true, null])
    expect((await cli(node, 'operator', 'reset', 'nobody')).code).toBe(1)
  })

  test('the last one stays until another can sign in', async () => {
    const refused = await cli(node, 'operator', 'rm', 'ada')
    expect([refused.code, refused.stderr]).toEqual([1, expect.stringContaining('make another owner first')])
    await node.api('POST', '/operators', { name: 'grace', role: 'owner' })
    expect((await cli(node, 'operator', 'rm', 'ada')).code).toBe(1)
    await use(node, await reset(node, 'grace'), PASSWORD)
    expect((await cli(node, 'operator', 'rm', 'ada')).code).toBe(0)
    expect([await statusOf(node, 'ada', NEW_PASSWORD), await statusOf(node, 'grace', PASSWORD)]).toEqual([401, 303])
  })

  test('comes by a name that is none of ours, and is told which setting adds it', async () => {
    const answer = await ask(node.console, { target: '/', headers: { host: 'portcullis.example' } })
    expect([answer.status, answer.text]).toEqual([421, expect.stringContaining('--allow-host')])
  })
})

test('a restart signs out and voids links; who has an owner gets no new setup link', async () => {
  const data = tempFolder()
  const first = await startNode({ data })
  const unused = /http\S+code=\S+/.exec(first.stdout())?.[0] ?? ''
  await first.stop()
  const second = await startNode({ data })
  expect((await fetch(`${second.console}/setup?code=${codeOf(unused)}`)).status).toBe(403)
  expect(/code=(\S+)/.exec(second.stdout())?.[1]).not.toBe(codeOf(unused))
  const cookie = await setUp(second, 'ada', PASSWORD)
  const link = await reset(second, 'ada')
  await second.stop()
  const third = await startNode({ data })
  expect(third.stdout()).not.toContain('code=')
  expect(await lives(third, cookie)).toBe(false)
  expect((await use(third, link, NEW_PASSWORD)).status).toBe(403)
  expect(await signIn(third, 'ada', PASSWORD)).toBeString()
  await third.stop()
}, 60_000)

test('while the disk is full a link is not used up in vain', async () => {
  if (!mayMount()) return
  await using small = await smallFolder()
  await using node = await startNode({ data: small.data, env: { HOME: tempFolder() } })
  const cookie = await setUp(node, 'ada', PASSWORD)
  let link = await reset(node, 'ada')
  small.fill()
  // Until the database refuses, it takes what fits into the pages that it has; each link voids the one before.
  await eventually(
    async () => {
      const made = await reset(node, 'ada')
      if (made !== '') link = made
      return made === ''
    },
    { timeoutMs: 20_000, everyMs: 50 },
  )
  // Whoever knows the password still signs in, to revoke, kill and close.
  expect(await statusOf(node, 'ada', PASSWORD)).toBe(303)
  const failed = await use(node, link, NEW_PASSWORD)
  expect([failed.status >= 400, cookieOf(failed), await lives(node, cookie)]).toEqual([true, null, true])
  expect(await statusOf(node, 'ada', PASSWORD)).toBe(303)
  small.free()
  await eventually(async () => (await use(node, link, NEW_PASSWORD)).status === 303, { timeoutMs: 10_000, everyMs: 50 })
  expect([await statusOf(node, 'ada', PASSWORD), await lives(node, cookie)]).toEqual([401, false])
}, 60_000)

test('who may not use the control socket is told what to type', async () => {
  if (process.getuid?.() !== 0) return
  await using node = await startNode()
  const folder = tempFolder()
  const binary = join(folder, 'portcullis')
  copyFileSync(builtBinary(), binary)
  chmodSync(folder, 0o755)
  chmodSync(binary, 0o755)
  const command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', binary]
  for (const args of [['setup'], ['operator', 'reset', 'ada']]) {
    const ran = await portcullis([...args, '--data', node.data], { command, cwd: '/', env: { HOME: '/' } })
    expect([ran.code, ran.stdout]).toEqual([1, ''])
    expect(ran.stderr).toContain(`  sudo ${binary} ${args.join(' ')} --data ${node.data}`)
  }
}, 120_000)
