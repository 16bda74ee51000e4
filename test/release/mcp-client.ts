import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'

/**
 * `bun mcp-client.ts URL TOKEN`: what an AI client does, as a process that can run beside containers. It calls a tool, begins a
 * slow call, says so, and prints what became of it.
 */
const [url = '', token = ''] = process.argv.slice(2)
const client = new Client({ name: 'test-client', version: '1.0.0' })
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }),
)
const tools = (await client.listTools()).tools.map(({ name }) => name)
const { content } = await client.callTool({ name: 'echo', arguments: { message: 'hällo' } })
const { promise: underWay, resolve: onprogress } = Promise.withResolvers<unknown>()
const slow = client
  .callTool({ name: 'trigger-long-running-operation', arguments: { duration: 50, steps: 500 } }, undefined, {
    onprogress,
  })
  .then(() => 'it was answered', String)
await underWay
console.log(JSON.stringify({ tools, content, slow: 'is under way' }))
console.log(JSON.stringify({ slow: await slow }))
process.exit(0)
