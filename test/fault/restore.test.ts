import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { VerificationJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { type TestNode, startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { portcullis } from '../cli/run.ts'

/** KILLS=500 for a long look. */
const KILLS = Number(process.env['KILLS'] ?? 20)

let command: string[]
let echo: Awaited<ReturnType<typeof startEcho>>
/** A folder whose node was killed: its -wal holds what died last. */
let left: string
let file: string
let secrets: { lives: string; dead: string[]; since: string }

const start = (data: string) => startNode({ data, command })
const statusOf = async (node: TestNode, secret: string) =>
  (await ask(node.gate, { target: '/s/echo/x', headers: bearer(secret) })).status

beforeAll(async () => {
  command = [builtBinary()]
  echo = await startEcho()
  left = tempFolder()
  file = join(tempFolder(), 'backup')
  const node = await start(left)
  await node.addServer('echo', echo.url, { headers: { 'X-Key': 'kept' } })
  const lives = await node.createToken('lives', ['echo'])
  const before = await node.createToken('dies before', ['echo'])
  await node.revoke({ tokens: [before.id] })
  const dies = await node.createToken('dies after', ['echo'])
  const rotates = await node.createToken('rotates after', ['echo'])
  expect((await portcullis(['backup', file, '--data', left], { command })).code).toBe(0)
  await node.api('POST', '/keys')
  await node.api('POST', `/tokens/${rotates.id}/rotations`)
  const since = await node.createToken('made after', ['echo'])
  await node.revoke({ tokens: [dies.id] })
  node.kill('SIGKILL')
  await node.exited
  rmSync(join(left, 'control.sock'))
  expect(Bun.file(join(left, 'portcullis.db-wal')).size).toBeGreaterThan(0)
  secrets = { lives: lives.token, dead: [before, dies, rotates].map(({ token }) => token), since: since.token }
})
afterAll(() => {
  echo.stop()
  removeFolder(left)
})

const copyOf = (folder: string): string => {
  const data = tempFolder()
  cpSync(folder, data, { recursive: true, preserveTimestamps: true })
  return data
}

/** What changes a file system, or makes it last. */
const CALLS = 'rename,renameat,renameat2,unlink,unlinkat,link,linkat,fsync,fdatasync,ftruncate,mkdir,chmod'

const restoreFor = async (data: string, killAfterMs: number, runner: string[] = [], killAt = '', from = file) => {
  const child = Bun.spawn([...runner, ...command, 'restore', from, '--data', data], {
    env: { PATH: process.env['PATH'] ?? '', HOME: data },
    stdout: 'ignore',
    stderr: 'pipe',
  })
  const kill = setTimeout(() => child.kill('SIGKILL'), killAfterMs)
  if (killAt !== '') {
    await eventually(() => existsSync(join(data, killAt)), { everyMs: 0 })
    child.kill('SIGKILL')
  }
  const code = await child.exited
  clearTimeout(kill)
  return { killed: child.signalCode === 'SIGKILL', code, stderr: await new Response(child.stderr).text() }
}

/** How long a restore that nobody kills takes: kills are spread evenly over it, and a bit beyond. */
const wholeMs = async (folder: string): Promise<number> => {
  const data = copyOf(folder)
  const began = performance.now()
  const whole = await restoreFor(data, 60_000)
  expect([whole.code, whole.stderr]).toEqual([0, ''])
  removeFolder(data)
  return (performance.now() - began) * 1.1
}

/** Starts what a restore left, and says whether it is the old; all of it must be, and what is dead is dead. */
const isOld = async (data: string, said: string): Promise<boolean> => {
  const node = await start(data)
  const statuses = await Promise.all([...secrets.dead, secrets.lives, secrets.since].map((it) => statusOf(node, it)))
  const old = statuses.at(-1) === 200
  expect(statuses, said).toEqual([401, 401, 401, 200, old ? 200 : 401])
  expect(echo.requests.at(-1)?.head.get('x-key'), said).toBe('kept')
  expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status, said).toBe('intact')
  const { json } = await node.api<{ items: { action: string }[] }>('GET', '/audit?action=node.restore')
  expect([json.items.length, said]).toEqual([old ? 0 : 1, said])
  const rest = readdirSync(data).filter((name) => /tmp/.test(name) || (old && /before-restore/.test(name)))
  expect([rest, said]).toEqual([[], said])
  expect(await node.stop()).toBe(0)
  removeFolder(data)
  return old
}

/**
 * Kills a restore before each call of each kind: strace counts each kind by itself. `restoreInto` tells whether the old
 * stands afterwards, and null once the restore went through.
 */
const killAtEach = async (restoreInto: (kind: string, prefix: string[]) => Promise<boolean | null>): Promise<void> => {
  const all: boolean[] = []
  for (const kind of CALLS.split(',')) {
    const ended: boolean[] = []
    for (let call = 1; ; call += 1) {
      const trace = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', `trace=${kind}`]
      const isOld = await restoreInto(kind, [...trace, '-e', `inject=${kind}:signal=SIGKILL:when=${call}`])
      if (isOld === null) break
      ended.push(isOld)
    }
    // Once it is the new, it stays the new.
    expect(ended).toEqual(ended.toSorted((a, b) => Number(b) - Number(a)))
    all.push(...ended)
  }
  expect(all.length).toBeGreaterThan(20)
  expect(new Set(all)).toEqual(new Set([true, false]))
}

test('killed before any of the calls that change the folder, it leaves the old or the new', async () => {
  await killAtEach(async (kind, prefix) => {
    const data = copyOf(left)
    const { code } = await restoreFor(data, 60_000, prefix)
    const old = await isOld(data, `killed before a ${kind}`)
    if (code !== 0) return old
    expect(old).toBeFalse()
    return null
  })
}, 240_000)

test('killed before any of the same calls while what was put aside is put back, nothing dead lives', async () => {
  const restored = copyOf(left)
  expect((await restoreFor(restored, 60_000)).code).toBe(0)
  const aside = readdirSync(restored).find((name) => name.includes('before-restore')) ?? ''
  await killAtEach(async (kind, prefix) => {
    const data = copyOf(restored)
    const { code } = await restoreFor(data, 60_000, prefix, '', join(data, aside))
    const node = await start(data)
    const tried = [...secrets.dead, secrets.lives, secrets.since]
    const statuses = await Promise.all(tried.map((secret) => statusOf(node, secret)))
    const back = statuses.at(-1) === 200
    expect([kind, ...statuses]).toEqual([kind, 401, 401, 401, 200, back ? 200 : 401])
    expect(echo.requests.at(-1)?.head.get('x-key')).toBe('kept')
    expect((await node.api<VerificationJson>('GET', '/audit/verification')).json.status).toBe('intact')
    expect(readdirSync(data).filter((name) => /tmp/.test(name))).toEqual([])
    expect(await node.stop()).toBe(0)
    removeFolder(data)
    if (code !== 0) return !back
    expect(back).toBeTrue()
    return null
  })
}, 240_000)

test('killed at any moment it leaves the old or the new', async () => {
  const tookMs = await wholeMs(left)
  let untouched = 0
  for (let kill = 0; kill < KILLS; kill += 1) {
    const data = copyOf(left)
    const at = (tookMs * kill) / KILLS
    const { killed } = await restoreFor(data, at)
    const old = await isOld(data, `killed after ${at.toFixed(1)} ms`)
    if (!killed) expect(old).toBeFalse()
    if (old) untouched += 1
  }
  // Kills that hit nothing would prove nothing.
  expect(untouched).toBeGreaterThan(KILLS / 4)
}, 120_000)

test('while another program reads the database in place, it is left alone: its -wal can not be folded', async () => {
  const data = copyOf(left)
  const reader = new Database(join(data, 'portcullis.db'), { readonly: true })
  reader.run('BEGIN')
  reader.query('SELECT count(*) FROM tokens').get()
  const { code, stderr } = await restoreFor(data, 60_000)
  expect([code, stderr]).toEqual([1, expect.stringContaining('is used by another program')])
  reader.run('COMMIT')
  reader.close()
  expect(await isOld(data, 'refused')).toBeTrue()
})

test('killed at any moment in an empty folder, it leaves nothing that looks restored', async () => {
  const nothing = tempFolder()
  const tookMs = await wholeMs(nothing)
  const kills = Math.ceil(KILLS / 2)
  let refused = 0
  for (let kill = 0; kill < kills; kill += 1) {
    const data = tempFolder()
    const said = `killed after ${((tookMs * kill) / kills).toFixed(1)} ms`
    // One is aimed: on a busy machine all others may miss what takes so short a while.
    await (kill === 0
      ? restoreFor(data, 60_000, [], 'portcullis.restore.tmp')
      : restoreFor(data, (tookMs * kill) / kills))
    const restored = existsSync(join(data, 'portcullis.db'))
    if (!restored && existsSync(join(data, 'portcullis.restore.tmp'))) {
      const { code, stderr } = await portcullis(['serve', '--data', data], { command })
      expect([code, stderr, said]).toEqual([1, expect.stringContaining('a restore was interrupted here'), said])
      refused += 1
    }
    // Again, and it is whole.
    const again = await restoreFor(data, 60_000)
    expect([again.code, again.stderr, said]).toEqual([0, '', said])
    removeFolder(data)
  }
  expect(refused).toBeGreaterThan(0)
}, 60_000)
