import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { startNode, type TestNode } from '../support/node.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'

/** A proxy of the environment, as a company's machines have it. */
const seen: string[] = []
const proxy = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch: ({ method, url }) => {
    seen.push(`${method} ${url}`)
    return new Response('from the proxy', { status: 418 })
  },
})
let node: TestNode
let echo: Awaited<ReturnType<typeof startEcho>>

beforeAll(async () => {
  echo = await startEcho()
  const variables = { HTTP_PROXY: proxy.url.href, http_proxy: proxy.url.href, NO_PROXY: 'direct.example' }
  node = await startNode({ env: variables })
})
beforeEach(() => void seen.splice(0))
afterAll(async () => {
  await node.stop()
  echo.stop()
  await proxy.stop(true)
})

const ask = async (name: string, url: string) => {
  await node.addServer(name, url)
  const { token } = await node.createToken(name, [name])
  return (await fetch(`${node.gate}/s/${name}/x`, { headers: bearer(token), proxy: '' })).status
}

test('a server on this machine is not reached through it, by name or by address', async () => {
  const { port } = new URL(echo.url)
  expect(await ask('address', `http://127.0.0.1:${port}`)).toBe(200)
  expect(await ask('name', `http://localhost:${port}`)).toBe(200)
  expect(seen).toEqual([])
})

test('one elsewhere is', async () => {
  expect(await ask('elsewhere', 'http://mcp.example.com')).toBe(418)
  expect(seen).toEqual(['GET http://mcp.example.com/x'])
})
