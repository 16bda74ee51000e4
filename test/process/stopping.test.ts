import { afterAll, beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import type { TokenJson } from '../../src/server/api/schemas.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startRaw } from '../support/upstreams/raw.ts'

let data: string
let events: Awaited<ReturnType<typeof startEvents>>
let echo: Awaited<ReturnType<typeof startEcho>>
beforeAll(async () => {
  data = tempFolder()
  events = await startEvents({ intervalMs: 20 })
  echo = await startEcho()
})
afterAll(() => {
  events.stop()
  echo.stop()
  removeFolder(data)
})

test.each(['SIGTERM', 'SIGINT'] as const)('%s ends it within 5 s, with streams and a request open', async (signal) => {
  const stuck = await startRaw(() => {})
  const folder = tempFolder()
  const node = await startNode({ data: folder })
  await node.addServer('events', events.url)
  await node.addServer('stuck', stuck.url)
  const { token } = await node.createToken('client', ['events', 'stuck'])
  const stream = await open(node.gate, { target: '/s/events/sse', headers: bearer(token) })
  await stream.until(({ text }) => text.includes('data: '))
  const waiting = await open(node.gate, { target: '/s/stuck/x', headers: bearer(token) })
  await eventually(() => stuck.requests.length === 1)

  const before = performance.now()
  node.kill(signal)
  expect(await node.exited).toBe(0)
  expect(performance.now() - before).toBeLessThan(5_000)
  await stream.until(({ ended }) => ended !== 'open')
  await waiting.until(({ ended }) => ended !== 'open')
  expect(waiting.status).not.toBe(200)
  expect(readdirSync(folder)).not.toContain('control.sock')
  await node.stop()
  stuck.stop()
  removeFolder(folder)
})

test('one that waits may end, and no other begins', async () => {
  const slow = await startRaw(() => {})
  const node = await startNode({ data: tempFolder() })
  await node.addServer('slow', slow.url)
  const { token } = await node.createToken('client', ['slow'])
  const waiting = await open(node.gate, { target: '/s/slow/x', headers: bearer(token) })
  await eventually(() => slow.requests.length === 1)
  node.kill('SIGTERM')
  // Until the port is given up, nothing shows that it stops.
  await eventually(() =>
    ask(node.gate, { target: '/healthz' }).then(
      () => false,
      () => true,
    ),
  )
  slow.last()?.answer('200 OK', ['Content-Type: text/plain'], 'done')
  await waiting.done()
  expect([waiting.status, waiting.text]).toEqual([200, 'done'])
  expect(await node.exited).toBe(0)
  expect(slow.requests).toHaveLength(1)
  slow.stop()
})

test('usage is flushed, and there after the next start', async () => {
  const first = await startNode({ data })
  await first.addServer('echo', echo.url)
  const { id, token } = await first.createToken('client', ['echo'])
  for (let call = 0; call < 3; call += 1) {
    const headers = { ...bearer(token), 'User-Agent': 'tester/1' }
    expect((await ask(first.gate, { target: '/s/echo/x', headers })).status).toBe(200)
  }
  await first.revoke({ tokens: [id] })
  for (let call = 0; call < 2; call += 1) await ask(first.gate, { target: '/s/echo/x', headers: bearer(token) })
  expect(await first.stop()).toBe(0)

  await using second = await startNode({ data })
  const { json } = await second.api<TokenJson>('GET', `/tokens/${id}`)
  expect(json).toMatchObject({ status: 'revoked', requests: 3, client: 'tester/1' })
  expect(json.bytesOut).toBeGreaterThan(0)
  expect(Date.parse(json.lastUsedAt ?? '')).toBeGreaterThan(Date.parse(json.createdAt))
  expect(json.deadTries).toMatchObject({ count: 2, addresses: [{ address: '127.0.0.1', count: 2 }] })
})
