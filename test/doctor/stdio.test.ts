import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { StdioRequest } from '../../src/stdio.ts'
import { portcullis } from '../cli/run.ts'
import { builtBinary } from '../support/binary.ts'
import { startCluster, type TestMember } from '../support/cluster.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { tempFolder } from '../support/temp.ts'
import { diagnose, isRoot } from './run.ts'

let node: TestNode
beforeAll(async () => {
  node = await startNode()
})
afterAll(() => node.stop())

const add = async (name: string, stdio: StdioRequest) => {
  const { status, json } = await node.api('POST', '/servers', { name, stdio, probe: false })
  expect([status, json]).toEqual([201, expect.anything()])
}
const said = async (data = node.data, env: Record<string, string> = {}) =>
  (await diagnose(['--data', data], { env })).say('stdio servers')
const program = (folder: string, mode = 0o755) => {
  const file = join(folder, 'server')
  writeFileSync(file, '#!/bin/sh\n')
  chmodSync(file, mode)
  return file
}

test('a node without commands is not looked at for them', async () => {
  expect(await said()).toEqual([])
})

test('each server: what it lacks, and what to do; the same of a node that is stopped', async () => {
  const open = tempFolder()
  chmodSync(open, 0o755)
  const wrong: [name: string, stdio: StdioRequest, says: RegExp][] = [
    [
      'absent',
      { command: ['no-such-program'] },
      /^fail: absent: no-such-program is in none of \/.* → install it where/,
    ],
    ['path', { command: ['/no/such'] }, /^fail: path: \/no\/such is not there → .*portcullis server show path/],
    ['mode', { command: [program(open, 0o644)] }, /^fail: mode: \S+\/server may not be executed → /],
    [
      'stranger',
      { command: ['sh'], user: 'no-such-user' },
      /^fail: stranger: there is no user no-such-user here → .*useradd/,
    ],
    [
      'veiled',
      { command: [program(tempFolder())], sandbox: true },
      /^fail: veiled: \S+\/server is out of sight in its sandbox → allow it: --allow \S+\/server:ro$/,
    ],
  ]
  await add('fine', { command: ['sh', '-c', 'cat'] })
  expect(await said()).toEqual(['ok: one, with what it needs → '])
  await add('fine-too', { command: ['/bin/sh'], sandbox: true })
  expect(await said()).toEqual(['ok: all 2 have what they need → '])
  for (const [name, stdio] of wrong) await add(name, stdio)
  await add('closed', { command: ['no-such-program'] })
  await node.api('PUT', '/servers/closed/gate', { state: 'closed' })

  const running = await said()
  expect(running).toHaveLength(wrong.length)
  for (const [name, , says] of wrong) expect(running.find((line) => line.includes(`: ${name}: `))).toMatch(says)
  // Nothing of it is taken for a server with a URL.
  expect((await diagnose(['--data', node.data])).say('servers')).toEqual([])

  const copy = tempFolder()
  await Bun.$`cp -a ${node.data}/. ${copy}`
  rmSync(join(copy, 'control.sock'))
  expect((await said(copy)).toSorted()).toEqual(running.toSorted())
}, 60_000)

test('the node runs no program that only root may run; somebody else needs root', async () => {
  if (!isRoot()) return
  const data = tempFolder()
  const closed = tempFolder()
  await Bun.$`chown 65534:65534 ${data}`
  chmodSync(closed, 0o700)
  const command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', builtBinary()]
  await using other = await startNode({ data, command })
  const body = (stdio: StdioRequest) => ({ name: `s${Math.random()}`.replace('.', ''), stdio, probe: false })
  await other.api('POST', '/servers', body({ command: [program(closed)] }))
  await other.api('POST', '/servers', body({ command: ['sh'], user: 'daemon' }))
  const found = await said(data)
  expect(found).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/: \S+\/server is in \S+, which is closed to it → install it where nobody may run it/),
      expect.stringMatching(
        /: the node runs as nobody, and only root may run commands as daemon → run the node as root/,
      ),
    ]),
  )
}, 60_000)

test('in a cluster each member looks at what it runs itself, also when it is stopped', async () => {
  await using cluster = await startCluster(2)
  const [a, b] = cluster.members as [TestMember, TestMember]
  const body = (name: string, more = {}) => ({ name, stdio: { command: [`no-${name}`], ...more }, probe: false })
  await a.running.api('POST', '/servers', body('of-a'))
  await b.running.api('POST', '/servers', body('of-b'))
  await b.running.api('POST', '/servers', body('of-all', { everywhere: true }))
  const namesAt = async ({ data }: TestMember) =>
    (await said(data)).map((line) => /: (of-\w+): /.exec(line)?.[1]).toSorted()
  await eventually(async () => (await namesAt(a)).length === 2)
  await eventually(async () => (await namesAt(b)).length === 2)
  expect([await namesAt(a), await namesAt(b)]).toEqual([
    ['of-a', 'of-all'],
    ['of-all', 'of-b'],
  ])
  const { stdout } = await portcullis(['--data', b.data, 'server', 'show', 'of-a'])
  expect(stdout).toMatch(/^Runs on: +node a alone$/m)
  await a.kill()
  expect(await namesAt(a)).toEqual(['of-a', 'of-all'])
}, 60_000)

describe('what all of them need', () => {
  const limited = { command: ['bash', '-c', 'ulimit -n 600; exec "$@"', 'bash', builtBinary()] }

  test('room for as many processes as the node may start', async () => {
    await using small = await startNode(limited)
    await small.api('POST', '/servers', { name: 'one', stdio: { command: ['sh'] }, probe: false })
    expect(await said(small.data)).toEqual([
      'warn: there is room for about 100 of the 256 processes that the node may start (open files) → raise it: LimitNOFILE=65536 in the unit; or --stdio-processes 100',
    ])
    expect(await said(small.data, { PORTCULLIS_STDIO_PROCESSES: '100' })).toEqual(['ok: one, with what it needs → '])
  }, 60_000)

  test('a folder of the node’s own to work in', async () => {
    await using other = await startNode()
    await other.api('POST', '/servers', { name: 'one', stdio: { command: ['sh'] }, probe: false })
    const folder = join(other.data, 'stdio')
    rmSync(folder, { recursive: true, force: true })
    writeFileSync(folder, '')
    expect(await said(other.data)).toEqual([expect.stringMatching(/^fail: \S+\/stdio is not a folder/)])
    if (!isRoot()) return
    rmSync(folder)
    mkdirSync(folder)
    await Bun.$`chown 65534 ${folder}`
    expect(await said(other.data)).toEqual([expect.stringMatching(/^fail: \S+\/stdio is nobody's.* → .*chown 0 /)])
  }, 60_000)
})
