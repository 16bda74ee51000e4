import { afterAll, beforeAll, expect, test } from 'bun:test'
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { AppError } from '../../src/error.ts'
import { KeyRing, newRingKey } from '../../src/key.ts'
import { KeyRotation, type KeyRotationDeps } from '../../src/key-rotation.ts'
import { SYSTEM } from '../../src/operator.ts'
import type { RingKeyJson, TokenJson } from '../../src/server/api/schemas.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { builtBinary } from '../support/binary.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 25)

let command: string[]
let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  command = [builtBinary()]
  echo = await startEcho()
})
afterAll(() => echo.stop())

const statusOf = async (node: TestNode, secret: string) =>
  (await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status
const keysOf = async (node: TestNode) => (await node.api<{ items: RingKeyJson[] }>('GET', '/keys')).json.items

test('rotating and removing keys under load refuses nobody who lives', async () => {
  await using node = await startNode({ command })
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'kept' } })
  const old = await node.createToken('under the first key', ['echo'])
  const [first] = await keysOf(node)
  await node.api('POST', '/keys')
  const lives = await node.createToken('under the second key', ['echo'])
  let working = true
  const statuses = new Set<number>()
  const asking = Array.from({ length: 4 }, async () => {
    while (working) statuses.add(await statusOf(node, lives.token))
  })
  expect((await node.api('DELETE', `/keys/${first?.id}`)).status).toBe(409)
  for (let round = 0; round < 5; round += 1) expect((await node.api('POST', '/keys')).status).toBe(201)
  expect((await node.api('DELETE', `/keys/${first?.id}?revoke=true`)).status).toBe(200)
  working = false
  await Promise.all(asking)
  expect([...statuses]).toEqual([200])
  expect(await statusOf(node, old.token)).toBe(401)
  expect(echo.requests.at(-1)?.head.get('x-key')).toBe('kept')
})

test('a key file that is a link stays one, and one that cannot be written changes nothing', async () => {
  const [data, elsewhere] = [tempFolder(), tempFolder()]
  const target = join(elsewhere, 'ring')
  const link = join(data, 'portcullis.key')
  await (await startNode({ data, command })).stop()
  renameSync(link, target)
  symlinkSync(target, link)
  const node = await startNode({ data, command })
  await node.api('POST', '/keys')
  const ids = (await keysOf(node)).map(({ id }) => id)
  const inFile = () => (JSON.parse(readFileSync(link, 'utf8')) as { keys: { id: string }[] }).keys.map(({ id }) => id)
  expect(inFile()).toEqual(ids)
  expect(ids).toHaveLength(2)
  expect([lstatSync(link).isSymbolicLink(), (statSync(target).mode & 0o777).toString(8)]).toEqual([true, '600'])
  // A folder in the place of the file that is about to be written.
  mkdirSync(`${target}.tmp`)
  const refused = await node.api<{ detail: string }>('POST', '/keys')
  expect([refused.status, refused.json.detail]).toEqual([507, expect.stringContaining("can't be written")])
  expect((await keysOf(node)).map(({ id }) => id)).toEqual(ids)
  expect(inFile()).toEqual(ids)
  await node.stop()
})

test('a rotation that the database refuses leaves the key in the ring, and makes no secret with it', () => {
  const ring = new KeyRing({ database: 'db', keys: [newRingKey(0)] })
  const { current } = ring
  const saved: string[][] = []
  let full = true
  const refusing = {
    saveRing: (keys: { id: string }[]) => void saved.push(keys.map(({ id }) => id)),
    added: () => {
      if (full) throw new AppError('storage', 'disk full')
    },
  }
  const deps = { ring, store: refusing, servers: new UpstreamIndex(), now: () => 1 }
  const rotation = new KeyRotation(deps as unknown as KeyRotationDeps)
  for (let tries = 0; tries < 3; tries += 1) {
    expect(() => rotation.rotate(SYSTEM)).toThrow('disk full')
    // The last one of the file is current, also after a restart. Further tries add no further keys.
    expect([ring.current, saved.at(-1)?.at(-1), saved.at(-1)?.length]).toEqual([current, current, 2])
    expect(ring.ids).toEqual(saved.at(-1) ?? [])
  }
  full = false
  const { id } = rotation.rotate(SYSTEM)
  expect([ring.current, saved.at(-1)]).toEqual([id, [current, id]])
})

test('killed around rotating and removing, it starts, and no live token lost its key', async () => {
  const data = tempFolder()
  let node = await startNode({ data, command })
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'kept' } })
  const made: { id: string; token: string }[] = []
  let killed = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    made.push(await node.createToken(`round ${round}`, ['echo']))
    const keys = await keysOf(node)
    const oldest = keys.find(({ current }) => !current)
    const remove = oldest && (round % 2 === 1 || keys.length > 6)
    const change = remove ? node.api('DELETE', `/keys/${oldest.id}?revoke=true`) : node.api('POST', '/keys')
    const answered = change.then(
      () => true,
      () => false,
    )
    // Within the few milliseconds that it takes: a little later in each round.
    const until = performance.now() + (round / ROUNDS) * 5
    while (performance.now() < until) await new Promise(setImmediate)
    node.kill('SIGKILL')
    await node.exited
    if (!(await answered)) killed += 1
    node = await startNode({ data, command })
    expect(readdirSync(data).filter((name) => /tmp/.test(name))).toEqual([])
    const { json } = await node.api<{ items: TokenJson[] }>('GET', '/tokens?limit=1000')
    for (const { id, token } of made) {
      const status = json.items.find((item) => item.id === id)?.status
      expect([round, status, await statusOf(node, token)]).toEqual([round, status, status === 'active' ? 200 : 401])
    }
    const live = made.filter(({ id }) => json.items.find((item) => item.id === id)?.status === 'active')
    if (live.length > 0) expect(echo.requests.at(-1)?.head.get('x-key')).toBe('kept')
  }
  expect(killed).toBeGreaterThan(0)
  expect(readdirSync(data)).toContain('portcullis.key')
  expect(await Bun.file(join(data, 'portcullis.key')).text()).toContain('key-file')
  await node.stop()
}, 90_000)
