import { Server, type ServerContext, inputRequired } from '@modelcontextprotocol/server'
import { StdioServerTransport, serveStdio } from '@modelcontextprotocol/server/stdio'

/**
 * An MCP server over standard input and output, by the official SDK 2, for tests: `bun mcp.ts [WORD…]`.
 *
 *   (nothing)        speaks 2025 and 2026-07-28, as the client begins
 *   2025 | 2026      only that era
 *   stubborn         ignores SIGTERM, SIGINT and the end of its input
 *   banner           prints lines that are no JSON on its standard output before it speaks
 *   start=MS         says nothing for so long
 *   life=MS          exits with code 7 so long after its start
 *   exit=CODE        exits at once
 *   stderr=TEXT      says so on its standard error at its start
 *
 * Tools: `echo {text}`, `add {a, b}`, `slow {seconds}` (progress ten times a second), `count` (one more each time:
 * what a process keeps), `pid`, `env {name?}` (its environment as JSON), `where` (working folder, uid, gid, groups),
 * `stderr {text, times?}`, `log {text}` (a log message), `big {bytes}`, `exit {code?}` (in the middle of the call),
 * `kill` (SIGKILL to itself), `changed` (tools/list_changed), `updated {uri}` (resources/updated), `sample`, `elicit`,
 * `roots` (asks the client, in the way of its era, and answers what it said as JSON), `child` (starts a child that
 * ignores SIGTERM, and answers its pid), `flood {messages, bytes}` (so many log messages, then the answer).
 */

const words = process.argv.slice(2)
const has = (word: string): boolean => words.includes(word)
const valueOf = (name: string): string | undefined =>
  words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)

if (valueOf('exit') !== undefined) process.exit(Number(valueOf('exit')))
if (valueOf('stderr') !== undefined) process.stderr.write(`${valueOf('stderr')}\n`)
if (valueOf('life') !== undefined) setTimeout(() => process.exit(7), Number(valueOf('life')))
if (has('stubborn')) {
  process.on('SIGTERM', () => {})
  process.on('SIGINT', () => {})
  setInterval(() => {}, 60_000)
}
if (has('banner')) process.stdout.write('Starting the server…\nListening on stdio\n\n')
if (valueOf('start') !== undefined) await Bun.sleep(Number(valueOf('start')))

const NUMBER = { type: 'number' }
const TEXT = { type: 'string' }
type Properties = Record<string, { type: string }>

const TOOLS: [string, Properties?][] = [
  ['echo', { text: TEXT }],
  ['add', { a: NUMBER, b: NUMBER }],
  ['slow', { seconds: NUMBER }],
  ['count'],
  ['pid'],
  ['env', { name: TEXT }],
  ['where'],
  ['stderr', { text: TEXT, times: NUMBER }],
  ['log', { text: TEXT }],
  ['big', { bytes: NUMBER }],
  ['exit', { code: NUMBER }],
  ['kill'],
  ['changed'],
  ['updated', { uri: TEXT }],
  ['sample'],
  ['elicit'],
  ['roots'],
  ['child'],
  ['flood', { messages: NUMBER, bytes: NUMBER }],
]

const text = (value: string) => ({ content: [{ type: 'text' as const, text: value }] })

let count = 0

const SAMPLE = {
  messages: [{ role: 'user' as const, content: { type: 'text' as const, text: 'Say hi' } }],
  maxTokens: 9,
}
const ELICIT = {
  message: 'Your name?',
  requestedSchema: { type: 'object' as const, properties: { name: { type: 'string' as const } }, required: ['name'] },
}

type Args = Record<string, unknown>

const call = async (server: Server, name: string, args: Args, { mcpReq }: ServerContext) => {
  /** Asks the client: 2025 by a request of the server's, 2026 by an answer that wants the call again. */
  const ask = async (
    request: Parameters<typeof inputRequired>[0]['inputRequests'],
    push: () => Promise<unknown>,
  ): Promise<ReturnType<typeof text> | ReturnType<typeof inputRequired>> => {
    const said = mcpReq.inputResponses?.['it']
    if (said !== undefined) return text(JSON.stringify(said))
    if (server.getNegotiatedProtocolVersion() === '2026-07-28') return inputRequired({ inputRequests: request })
    return text(JSON.stringify(await push()))
  }
  switch (name) {
    case 'echo':
      return text(`echo: ${String(args['text'])}`)
    case 'add':
      return text(String(Number(args['a']) + Number(args['b'])))
    case 'slow': {
      const total = Math.ceil(Number(args['seconds']) * 10)
      const progressToken = mcpReq._meta?.progressToken
      for (let progress = 1; progress <= total && !mcpReq.signal.aborted; progress += 1) {
        await Bun.sleep(100)
        if (progressToken === undefined || mcpReq.signal.aborted) continue
        await mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total } })
      }
      // A test that has no other way to see a cancellation reads it here.
      if (mcpReq.signal.aborted) process.stderr.write('slow was cancelled\n')
      return text(mcpReq.signal.aborted ? 'aborted' : 'slept')
    }
    case 'count':
      count += 1
      return text(String(count))
    case 'pid':
      return text(String(process.pid))
    case 'env':
      return text(args['name'] === undefined ? JSON.stringify(process.env) : (process.env[String(args['name'])] ?? ''))
    case 'where':
      return text(
        JSON.stringify({
          cwd: process.cwd(),
          uid: process.getuid?.(),
          gid: process.getgid?.(),
          groups: process.getgroups?.(),
        }),
      )
    case 'stderr':
      for (let time = 0; time < Number(args['times'] ?? 1); time += 1) process.stderr.write(`${String(args['text'])}\n`)
      return text('said')
    case 'log':
      await mcpReq.log('info', args['text'])
      return text('logged')
    case 'big':
      return text('x'.repeat(Number(args['bytes'])))
    case 'exit':
      return process.exit(Number(args['code'] ?? 1))
    case 'kill':
      process.kill(process.pid, 'SIGKILL')
      return text('never said')
    case 'changed':
      await server.sendToolListChanged()
      return text('told')
    case 'updated':
      await server.sendResourceUpdated({ uri: String(args['uri']) })
      return text('told')
    case 'sample':
      return ask({ it: inputRequired.createMessage(SAMPLE) }, () => mcpReq.requestSampling(SAMPLE))
    case 'elicit':
      return ask({ it: inputRequired.elicit(ELICIT) }, () => mcpReq.elicitInput(ELICIT))
    case 'roots':
      return ask({ it: inputRequired.listRoots() }, () => server.listRoots())
    case 'child': {
      const child = Bun.spawn(['/bin/sh', '-c', "trap '' TERM HUP INT; while :; do sleep 1; done"], {
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'ignore',
      })
      return text(String(child.pid))
    }
    case 'flood':
      for (let sent = 0; sent < Number(args['messages']); sent += 1)
        await mcpReq.log('info', `${sent}:${'x'.repeat(Number(args['bytes']))}`)
      return text('flooded')
    default:
      throw new Error(`no tool ${name}`)
  }
}

const build = (): Server => {
  const server = new Server(
    { name: 'test-stdio', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true, listChanged: true } } },
  )
  server.setRequestHandler('tools/list', () => ({
    tools: TOOLS.map(([name, properties = {}]) => ({ name, inputSchema: { type: 'object' as const, properties } })),
  }))
  server.setRequestHandler('tools/call', ({ params }, context) =>
    call(server, params.name, params.arguments ?? {}, context),
  )
  server.setRequestHandler('resources/list', () => ({ resources: [{ uri: 'test://one', name: 'one' }] }))
  server.setRequestHandler('resources/read', ({ params }) => ({ contents: [{ uri: params.uri, text: 'one' }] }))
  server.setRequestHandler('resources/subscribe', () => ({}))
  server.setRequestHandler('resources/unsubscribe', () => ({}))
  return server
}

if (has('2025')) await build().connect(new StdioServerTransport())
else serveStdio(build, { legacy: has('2026') ? 'reject' : 'serve' })
