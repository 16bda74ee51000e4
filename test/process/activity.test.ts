import { afterAll, beforeAll, expect, test } from 'bun:test'
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { ActivityJson } from '../../src/server/api/schemas.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEcho } from '../support/upstreams/echo.ts'

const isRoot = process.getuid?.() === 0

let echo: Awaited<ReturnType<typeof startEcho>>
let data: string
beforeAll(async () => {
  echo = await startEcho()
  data = tempFolder()
})
afterAll(() => {
  echo?.stop()
  removeFolder(data)
})

const callTool = async (node: TestNode, secret: string, name: string): Promise<void> => {
  const { status } = await ask(node.gate, {
    method: 'POST',
    target: '/s/echo/mcp',
    headers: { ...bearer(secret), 'Content-Type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name } }),
  })
  expect(status).toBe(200)
}
const toolsOf = async (node: TestNode, id: string) => {
  const { json } = await node.api<ActivityJson>('GET', `/tokens/${id}/activity`)
  return Object.fromEntries(json.tools.map(({ name, calls }) => [name, calls]))
}

test('a stop writes what is counted; a kill -9 loses what was not written, and nothing else', async () => {
  const first = await startNode({ data })
  await first.addServer('echo', echo.url)
  const { id, token } = await first.createToken('agent', ['echo'])
  for (let times = 0; times < 3; times++) await callTool(first, token, 'before')
  expect(await first.stop()).toBe(0)

  const second = await startNode({ data })
  expect(await toolsOf(second, id)).toEqual({ before: 3 })
  await callTool(second, token, 'before')
  expect(await toolsOf(second, id)).toEqual({ before: 4 })
  second.kill('SIGKILL')
  await second.exited

  await using third = await startNode({ data })
  // The minute may just have ended between the call and the kill.
  expect([3, 4]).toContain((await toolsOf(third, id))['before'] ?? 0)
  expect(Object.keys(await toolsOf(third, id))).toEqual(['before'])
}, 20_000)

test.skipIf(!isRoot)(
  'a full disk: counting goes on, and is written when there is room',
  async () => {
    const small = tempFolder()
    await Bun.$`mount -t tmpfs -o size=6m,mode=0700 portcullis-test ${small}`
    const fill = join(small, 'fill')
    try {
      const node = await startNode({ data: small, env: { HOME: data } })
      await node.addServer('echo', echo.url)
      const { id, token } = await node.createToken('agent', ['echo'])
      await callTool(node, token, 'before')
      const fd = openSync(fill, 'w')
      expect(() => {
        for (;;) writeSync(fd, new Uint8Array(65_536).fill(1))
      }).toThrow('ENOSPC')
      closeSync(fd)
      await callTool(node, token, 'during')
      expect(await toolsOf(node, id)).toEqual({ before: 1, during: 1 })
      rmSync(fill)
      await eventually(async () => (await fetch(`${node.console}/readyz`)).status === 200)
      expect(await node.stop()).toBe(0)
      const again = await startNode({ data: small, env: { HOME: data } })
      expect(await toolsOf(again, id)).toEqual({ before: 1, during: 1 })
      await again.stop()
    } finally {
      await Bun.$`umount ${small}`.nothrow()
      removeFolder(small)
    }
  },
  20_000,
)
