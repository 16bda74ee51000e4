import { expect, test } from 'bun:test'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { portcullis } from '../cli/run.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import {
  addCommand,
  calling,
  initializing,
  recorded,
  recorder,
  startedIn,
  stdioClient,
} from '../support/stdio-client.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/** What a command is given, all of it; and where that must not be found again. */

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile())

const procOf = (pid: number, name: string): string => readFileSync(`/proc/${pid}/${name}`, 'utf8')

test('the value of a variable is in the process that needs it, and nowhere else', async () => {
  const value = `canary-${crypto.randomUUID()}`
  const folder = tempFolder()
  const file = join(folder, 'record')
  await using node = await startNode({ args: ['--log-level', 'debug'] })
  const says = 'echo "the key is $KEY, or ${KEY#canary-} " >&2; echo "out $KEY"; echo "Bearer $KEY" >&2; exec "$@"'
  const command = ['/bin/sh', '-c', says, 'sh', ...recorder(file)]
  const answers: unknown[] = [await addCommand(node, 'keyed', { command, env: { KEY: value } })]
  const { id, token } = await node.createToken('client', ['keyed'])
  const client = stdioClient(node, 'keyed', token)
  const session = await client.open()
  await client.post(calling(2, 'any'), session)
  const pid = startedIn(file).at(-1) ?? 0
  expect(procOf(pid, 'environ').split('\0')).toContain(`KEY=${value}`)
  const cmdlines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((name) => {
      try {
        return [readFileSync(`/proc/${name}/cmdline`, 'utf8')]
      } catch {
        // It has just ended.
        return []
      }
    })
  expect(procOf(pid, 'cmdline')).toContain('recorder.sh')

  // Changes, with the value and without; what goes wrong with it too.
  const patch = (stdio: object) => node.api('PATCH', '/servers/keyed', { stdio })
  answers.push(
    await patch({ env: { KEY: '***', OTHER: 'x' } }),
    await patch({ env: { KEY: `${value}\0` } }),
    await patch({ env: { 'NO NAME': value } }),
    await node.api('POST', '/servers', { name: 'keyed', stdio: { command, env: { KEY: value } }, probe: false }),
    await node.api('POST', '/servers', {
      name: 'crashes',
      stdio: { command: ['/bin/sh', '-c', says], env: { KEY: value } },
    }),
  )
  const again = stdioClient(node, 'keyed', token)
  await again.open()
  await eventually(() => startedIn(file).length >= 2)
  expect(procOf(startedIn(file).at(-1) ?? 0, 'environ').split('\0')).toEqual(
    expect.arrayContaining([`KEY=${value}`, 'OTHER=x']),
  )
  for (const path of ['/servers', '/servers/keyed', '/servers/crashes', '/audit', '/connections', '/tokens', '/node'])
    answers.push(await node.api('GET', path))
  const served = await node.api<ServerJson>('GET', '/servers/keyed')
  const lines = served.json.stdio?.status.stderr.map(({ line }) => line)
  expect(lines).toContain('Bearer ***')
  expect(lines?.some((line) => line.startsWith('the key is ***'))).toBeTrue()
  expect(lines).toContain('stdout: out ***')
  const cli = await portcullis(['--data', node.data, 'server', 'show', 'keyed'])
  expect(cli.code).toBe(0)
  const backup = join(folder, 'backup')
  expect((await portcullis(['--data', node.data, 'backup', backup])).code).toBe(0)
  const live = filesIn(node.data).map((path) => readFileSync(path, 'latin1'))
  expect(await node.revoke({ tokens: [id] })).toMatchObject({ tokens: [{ id }] })
  node.kill('SIGTERM')
  await node.exited

  const places: Record<string, string> = {
    answers: JSON.stringify(answers),
    cmdlines: cmdlines.join('\n'),
    log: node.stdout() + node.stderr(),
    'command line': cli.stdout + cli.stderr,
    backup: readFileSync(backup, 'latin1'),
    'data folder': live.join('\n'),
    'data folder after the end': filesIn(node.data)
      .map((path) => readFileSync(path, 'latin1'))
      .join('\n'),
  }
  expect(node.stderr()).toContain('the key is ***')
  for (const [place, text] of Object.entries(places)) {
    expect(text.length).toBeGreaterThan(0)
    expect([place, text.includes(value)]).toEqual([place, false])
  }
  removeFolder(folder)
})

test('a client’s token does not reach the command, whatever way it comes', async () => {
  const folder = tempFolder()
  const file = join(folder, 'record')
  await using node = await startNode()
  await addCommand(node, 'fs', { command: recorder(file) })
  const { token } = await node.createToken('client', ['fs'])
  const client = stdioClient(node, 'fs', token)
  await client.post(calling(2, 'any'), await client.open())
  await (await client.modern(calling(3, 'any'))).text()
  const inPath = await fetch(`${node.gate}/t/${token}/s/fs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', 'x-api-key': token },
    body: JSON.stringify(initializing()),
  })
  expect([inPath.status, (await inPath.text()).includes('"recorder"')]).toEqual([200, true])
  const pids = startedIn(file)
  expect(new Set(pids).size).toBe(3)
  const seen = pids.map((pid) => procOf(pid, 'environ') + procOf(pid, 'cmdline')).join('\n')
  const lines = recorded(file).map(({ line }) => line)
  expect(lines.length).toBeGreaterThan(6)
  expect(`${seen}\n${lines.join('\n')}`).not.toContain(token)
  removeFolder(folder)
})

test('a command gets PATH, HOME, LANG and what is named, three open files, a folder, and nothing of the gate', async () => {
  const folder = tempFolder()
  const file = join(folder, 'record')
  const settings = { PORTCULLIS_LOG_LEVEL: 'info', LANG: 'C.UTF-8', LC_ALL: 'C', TZ: 'UTC', AWS_SECRET: 'of the gate' }
  await using node = await startNode({ env: settings })
  await addCommand(node, 'fs', { command: recorder(file), env: { NAMED: 'a b\nc="d"', go: '1' } })
  const { token } = await node.createToken('client', ['fs'])
  const client = stdioClient(node, 'fs', token)
  const session = await client.open()
  const [pid = 0] = startedIn(file)
  const environment = procOf(pid, 'environ').split('\0').filter(Boolean).toSorted()
  expect(environment).toEqual(
    [`HOME=${node.data}`, 'LANG=C.UTF-8', 'NAMED=a b\nc="d"', `PATH=${process.env['PATH']}`, 'go=1'].toSorted(),
  )
  // The script that the shell reads is the fourth, and above ten, as shells have it.
  const files = readdirSync(`/proc/${pid}/fd`).map(Number)
  expect(files.filter((fd) => fd < 10).toSorted()).toEqual([0, 1, 2])
  expect(files.length).toBeLessThanOrEqual(4)
  const status = procOf(pid, 'status')
  for (const signals of ['SigBlk', 'SigIgn']) expect(status).toMatch(new RegExp(`^${signals}:\\t0+$`, 'm'))
  const limits = procOf(pid, 'limits')
  expect(limits).toMatch(/^Max data size +1073741824 +1073741824 /m)
  expect(limits).toMatch(/^Max core file size +0 +0 /m)
  const own = readdirSync(join(node.data, 'stdio'))
  expect(own.length).toBe(1)
  const working = join(node.data, 'stdio', own[0] ?? '')
  expect(statSync(working).mode & 0o777).toBe(0o700)
  expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).not.toContain('PORTCULLIS')
  expect((await client.delete(session)) < 300).toBeTrue()
  removeFolder(folder)
})
