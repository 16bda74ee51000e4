import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ServerJson } from '../../src/server/api/schemas.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { addCommand, initializing, recorder, startedIn, stdioClient } from '../support/stdio-client.ts'
import { groupOf, lives } from '../support/stdio-process.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

/**
 * Sessions that are opened and dropped, as IDEs do that are closed; other gateways were left with thousands of orphans.
 * SESSIONS=10000 takes a minute.
 */
const SESSIONS = Number(process.env['SESSIONS'] ?? 2_000)
const TOKENS = 8
const LANES_PER_TOKEN = 4

const childrenOf = (pid: number): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((child) => child > 0 && lives(child) && parentOf(child) === pid)

const parentOf = (pid: number): number | null => {
  try {
    return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
  } catch {
    // It is gone.
    return null
  }
}

const openFilesOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length

test(`${SESSIONS} sessions, opened and dropped in every way, leave no child, no open file and no memory`, async () => {
  const folder = tempFolder()
  const file = join(folder, 'record')
  await using node = await startNode({ args: ['--stdio-processes', '192', '--stdio-processes-per-token', '24'] })
  await addCommand(node, 'fs', { command: recorder(file), idleMs: 1_000 })
  const secrets = await Promise.all(
    Array.from({ length: TOKENS }, async (_, index) => (await node.createToken(`t${index}`, ['fs'])).token),
  )
  let opened = 0
  let refused = 0

  /** Each leaves in another way. */
  const openAndDrop = async (secret: string, number: number): Promise<boolean> => {
    const client = stdioClient(node, 'fs', secret)
    if (number % 4 === 3) {
      const leave = new AbortController()
      const stream = await client.openOld(leave.signal)
      if (stream.ok) await stream.body?.getReader().read()
      else await stream.text()
      leave.abort()
      return stream.ok
    }
    const { status, session } = await client.post(initializing())
    if (status !== 200 || session === null) return false
    const leave = new AbortController()
    // A stream that is broken off; a session that is ended in good order; one that is never heard of again.
    if (number % 4 === 1) await client.listen(session, leave.signal)
    if (number % 4 === 2) await client.delete(session)
    leave.abort()
    return true
  }

  const lane = async (secret: string, until: number): Promise<void> => {
    while (opened < until) {
      const number = opened
      opened += 1
      while (!(await openAndDrop(secret, number))) {
        refused += 1
        await Bun.sleep(100)
      }
    }
  }
  const round = async (until: number): Promise<{ bytes: number; files: number }> => {
    await Promise.all(secrets.flatMap((secret) => Array.from({ length: LANES_PER_TOKEN }, () => lane(secret, until))))
    // One is left: what ends those that the gate leaves behind.
    await eventually(() => childrenOf(node.pid).length <= 1, { timeoutMs: 30_000, everyMs: 50 })
    return { bytes: await node.residentBytes(), files: openFilesOf(node.pid) }
  }
  const half = await round(SESSIONS / 2)
  const whole = await round(SESSIONS)

  const pids = startedIn(file)
  // Some were ended before they could write down that they live.
  expect(pids.length).toBeGreaterThan(SESSIONS / 2)
  const { startedInAll, crashes } = (await node.api<ServerJson>('GET', '/servers/fs')).json.stdio?.status ?? {}
  expect(startedInAll).toBeGreaterThanOrEqual(SESSIONS)
  expect(crashes).toBe(0)
  expect(childrenOf(node.pid).length).toBe(1)
  expect([...new Set(pids)].filter((pid) => groupOf(pid).length > 0)).toEqual([])
  const { json } = await node.api<{ items: unknown[] }>('GET', '/connections')
  expect(json.items).toEqual([])
  console.log(
    `${startedInAll} processes, ${refused} refusals; after the first half ${half.files} files and ` +
      `${(half.bytes / 1e6).toFixed(0)} MB, after all ${whole.files} files and ${(whole.bytes / 1e6).toFixed(0)} MB`,
  )
  // The collector's own ups and downs; a session that stayed with its buffers would be tens of KB each.
  expect(whole.bytes - half.bytes).toBeLessThan(40e6)
  // Connections of clients that have just left, at most.
  expect(whole.files).toBeLessThan(half.files + 20)
  removeFolder(folder)
}, 300_000)
