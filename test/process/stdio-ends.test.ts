import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ConnectionJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
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
import { groupOf, lives } from '../support/stdio-process.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/** Whatever ends a session, a token or a server ends its processes: all of the group, though they ignore what asks. */

let node: TestNode
const folder = tempFolder()
beforeAll(async () => {
  node = await startNode({ command: [builtBinary()] })
})
afterAll(async () => {
  await node.stop()
  removeFolder(folder)
})

interface Scene {
  name: string
  file: string
  tokenId: string
  client: ReturnType<typeof stdioClient>
  session: string
}

const connectionOf = async (kind: string, name: string): Promise<string> => {
  const { json } = await node.api<{ items: ConnectionJson[] }>('GET', '/connections')
  const found = json.items.find((connection) => connection.kind === kind && connection.server === name)
  if (!found) throw new Error(`no ${kind} of ${name} in ${JSON.stringify(json)}`)
  return found.id
}

const done = async (answer: Promise<{ status: number }>): Promise<void> => {
  const { status } = await answer
  if (status >= 300) throw new Error(`answered ${status}`)
}

const ENDS: Record<string, (scene: Scene) => Promise<unknown>> = {
  'a revocation': ({ tokenId }) => node.revoke({ tokens: [tokenId] }),
  'the secret is rotated without a grace': ({ tokenId }) => done(node.api('POST', `/tokens/${tokenId}/rotations`, {})),
  'the server is closed': ({ name }) => done(node.api('PUT', `/servers/${name}/gate`, { state: 'closed' })),
  'its connections are killed': ({ name }) => done(node.api('DELETE', `/servers/${name}/connections`)),
  'the server is removed': ({ name }) => done(node.api('DELETE', `/servers/${name}`)),
  'the command is changed': ({ name, file }) =>
    done(node.api('PATCH', `/servers/${name}`, { stdio: { command: recorder(file) } })),
  'the session is killed': async ({ name }) =>
    done(node.api('DELETE', `/connections/${await connectionOf('session', name)}`)),
  'the process is killed': async ({ name }) =>
    done(node.api('DELETE', `/connections/${await connectionOf('process', name)}`)),
  'the client ends its session': ({ client, session }) => client.delete(session),
}

const scene = async (
  name: string,
  stdio: Record<string, unknown> = {},
  token: Record<string, unknown> = {},
): Promise<Scene> => {
  const file = join(folder, name)
  await addCommand(node, name, { command: recorder(file, 'stubborn'), ...stdio })
  const issued = await node.createToken(name, [name], token)
  const client = stdioClient(node, name, issued.token)
  const session = await client.open()
  return { name, file, tokenId: issued.id, client, session }
}

const leavesNobody = async (file: string, most = 1): Promise<void> => {
  const pids = startedIn(file)
  expect(pids.length).toBeGreaterThan(0)
  expect(pids.length).toBeLessThanOrEqual(most)
  await eventually(() => pids.every((pid) => groupOf(pid).length === 0), {
    timeoutMs: 20_000,
    everyMs: 50,
    what: `nobody of ${pids.join()} lives`,
  })
}

describe.each(Object.keys(ENDS).map((title, index) => [title, index] as const))('%s', (title, index) => {
  test('ends a process that ignores SIGTERM, and its children', async () => {
    const it = await scene(`end-${index}`)
    const [pid = 0] = startedIn(it.file)
    // The recorder, and what it started.
    expect(groupOf(pid).length).toBeGreaterThanOrEqual(2)
    await ENDS[title]?.(it)
    await leavesNobody(it.file)
    await it.client.post({ jsonrpc: '2.0', id: 9, method: 'ping' }, it.session)
    expect(recorded(it.file).some(({ line }) => line.includes('"id":9'))).toBeFalse()
  })
})

test.each(['the server is closed', 'the server is removed', 'the command is changed'])(
  '%s: a shared process ends, which is nobody’s',
  async (title) => {
    const it = await scene(`shared-${Object.keys(ENDS).indexOf(title)}`, { shared: true })
    const [pid = 0] = startedIn(it.file)
    expect(lives(pid)).toBeTrue()
    await ENDS[title]?.(it)
    await leavesNobody(it.file)
  },
)

test('a process that nobody uses ends after the idle limit', async () => {
  const it = await scene('idle', { idleMs: 1_000 })
  const [pid = 0] = startedIn(it.file)
  expect(lives(pid)).toBeTrue()
  await leavesNobody(it.file)
  expect((await it.client.post({ jsonrpc: '2.0', id: 9, method: 'ping' }, it.session)).status).toBe(404)
})

test('a process ends when its token expires', async () => {
  const it = await scene('expiry', {}, { expiresAt: new Date(Date.now() + 4_000).toISOString() })
  const [pid = 0] = startedIn(it.file)
  expect(lives(pid)).toBeTrue()
  await leavesNobody(it.file)
  expect((await it.client.post(initializing())).status).toBe(401)
})

test('a process ends when the stream of HTTP+SSE that it serves is closed', async () => {
  const file = join(folder, 'old')
  await addCommand(node, 'old', { command: recorder(file, 'stubborn') })
  const { token } = await node.createToken('old', ['old'])
  const leave = new AbortController()
  const stream = await stdioClient(node, 'old', token).openOld(leave.signal)
  const first = await stream.body?.getReader().read()
  expect(new TextDecoder().decode(first?.value)).toContain('event: endpoint')
  await eventually(() => startedIn(file).length === 1)
  leave.abort()
  await leavesNobody(file)
})

test('a process ends when its client left before it had answered', async () => {
  const file = join(folder, 'left')
  await addCommand(node, 'left', { command: recorder(file, 'slow') })
  const { token } = await node.createToken('left', ['left'])
  const leave = new AbortController()
  const asked = stdioClient(node, 'left', token).begin(initializing(), null, leave.signal)
  await eventually(() => startedIn(file).length === 1)
  leave.abort()
  await expect(asked).rejects.toThrow()
  await leavesNobody(file)
})

test('a process of stateless requests ends with its token, and when nobody uses it', async () => {
  const file = join(folder, 'modern')
  await addCommand(node, 'modern', { command: recorder(file, 'stubborn'), idleMs: 1_000 })
  const [first, second] = await Promise.all(['m1', 'm2'].map((name) => node.createToken(name, ['modern'])))
  if (!first || !second) throw new Error('no tokens')
  const call = { jsonrpc: '2.0' as const, id: 1, method: 'tools/call', params: { name: 'any', arguments: {} } }
  for (const { token } of [first, second]) {
    const answer = await stdioClient(node, 'modern', token).modern(call)
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('"done"')])
  }
  expect(startedIn(file).length).toBe(2)
  await node.revoke({ tokens: [first.id] })
  await leavesNobody(file, 2)
})

test('after a rotation a process goes on under the new secret, though the old one was used since', async () => {
  const file = join(folder, 'rotated')
  await addCommand(node, 'rotated', { command: recorder(file) })
  const old = await node.createToken('rotated', ['rotated'])
  const call = async (secret: string) => {
    const answer = await stdioClient(node, 'rotated', secret).modern(calling(1, 'any'))
    await answer.text()
    return answer.status
  }
  expect(await call(old.token)).toBe(200)
  const { json } = await node.api<{ token: string }>('POST', `/tokens/${old.id}/rotations`, { graceSeconds: 2 })
  expect([await call(json.token), await call(old.token)]).toEqual([200, 200])
  await eventually(async () => (await call(old.token)) === 401, { timeoutMs: 10_000, everyMs: 50 })
  expect(await call(json.token)).toBe(200)
  const [pid = 0, ...others] = startedIn(file)
  expect(others).toEqual([])
  expect(lives(pid)).toBeTrue()
})

/** Living processes whose command line names a file. */
const naming = (text: string): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid && lives(pid) && commandLineOf(pid).includes(text))

const commandLineOf = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    // It has just ended.
    return ''
  }
}

test('kill -9 of the gate in the midst of many starts leaves nobody, not even who had just been started', async () => {
  for (let round = 0; round < 6; round += 1) {
    const file = join(folder, `killed-${round}`)
    const killed = await startNode({ command: [builtBinary()] })
    const servers = ['own', 'shared'].map((name) =>
      addCommand(killed, name, { command: recorder(file, 'stubborn'), shared: name === 'shared' }),
    )
    await Promise.all(servers)
    const { token } = await killed.createToken('client', ['own', 'shared'])
    const client = stdioClient(killed, 'own', token)
    // The first loads what the rest needs.
    await client.open()
    const starts = Array.from({ length: 24 }, () => client.post(initializing()).catch(() => null))
    starts.push(
      stdioClient(killed, 'shared', token)
        .post(initializing())
        .catch(() => null),
    )
    await eventually(() => startedIn(file).length >= round * 4, { everyMs: 0, what: 'so many have started' })
    killed.kill('SIGKILL')
    await killed.exited
    await Promise.all(starts)
    await eventually(() => naming(file).length === 0, { what: `nobody has ${file} open` })
    const pids = startedIn(file)
    await eventually(() => pids.every((pid) => groupOf(pid).length === 0), { what: 'nobody of their groups lives' })
    expect(pids.length).toBeGreaterThanOrEqual(round * 4)
    await killed.stop()
  }
})
