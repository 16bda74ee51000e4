import type { Node } from '../node.ts'
import { SYSTEM } from '../operator.ts'

const SERVER = 'demo'
const TOKEN = 'Demo client'
const OPERATOR = 'demo'
const REDRAW_MS = 250

/** The server of this start: the built-in upstream has another port each time. */
const putServer = (node: Node, url: string): void => {
  if (node.servers.byName.has(SERVER)) node.control.change(SERVER, { url }, SYSTEM)
  else node.control.add(node.control.draft({ name: SERVER, url, path: '/mcp' }), SYSTEM)
}

/** A secret for this start: secrets are shown once, so an older token gets a new one. */
const putToken = (node: Node): string => {
  const live = node.tokens.named(TOKEN, node.now()).find((token) => token.revokedAt === null)
  if (live) return node.issuance.rotate(live, 0, SYSTEM)
  const request = { name: TOKEN, servers: [SERVER], subject: 'you@example.com', expiresAt: null }
  return node.issuance.issue(request, SYSTEM).secret
}

const introduction = (node: Node, secret: string, link: string, command: string): string => {
  const url = `${node.gateUrl}/s/${SERVER}`
  return `
Portcullis demo. Everything is in ${node.config.data}

1. Open a stream through the gate, in another terminal:

   curl -N -H "Authorization: Bearer ${secret}" ${url}/sse

2. Kill its token, in a third one, and watch the stream die:

   ${command} revoke "${TOKEN}" --reason compromised --data ${node.config.data}

3. Run the curl again: 401, and for ever.

An MCP client:  claude mcp add --transport http demo ${url}/mcp --header "Authorization: Bearer ${secret}"
The console:    ${link}

`
}

/** What happened since the last look, and what is live now. */
const watcher = (node: Node) => {
  let lastReceipt = node.reads.receipts(1, null)[0]?.id ?? ''
  let known = new Set<string>()
  return () => {
    const lines: string[] = []
    const live = [...node.registry.all()]
    for (const connection of live) {
      if (!known.has(connection.id))
        lines.push(`+ ${connection.method} ${connection.path}  ${connection.client ?? ''} from ${connection.address}`)
    }
    const ended = known.size - live.filter(({ id }) => known.has(id)).length
    known = new Set(live.map(({ id }) => id))
    const receipt = node.reads.receipts(1, null)[0]
    if (receipt && receipt.id !== lastReceipt && receipt.timings.commitMs !== null) {
      lastReceipt = receipt.id
      const { commitMs, lastCutMs } = receipt.timings
      lines.push(
        `x revoked ${receipt.tokens.map(({ name }) => `"${name}"`).join(', ')}: ${receipt.cut} cut, on disk after ${commitMs} ms, silent after ${lastCutMs ?? commitMs} ms`,
      )
    } else if (ended > 0) {
      lines.push(`- ${ended} ended`)
    }
    const streams = live.filter(({ kind }) => kind === 'sse').length
    const bytes = live.reduce((sum, { bytesOut }) => sum + bytesOut, 0)
    return { lines, status: `${live.length} live, ${streams} streams, ${bytes} bytes passed on them` }
  }
}

/** Sets the demo up in a running node, says what to try, and shows what happens until it is stopped. */
export const runDemo = (node: Node, upstream: { url: string; stop(): void }, command: string): { stop(): void } => {
  putServer(node, upstream.url)
  const secret = putToken(node)
  node.access.ensureOperator(OPERATOR)
  const link = node.consoleUrl + node.access.signInLink(OPERATOR).path
  process.stdout.write(introduction(node, secret, link, command))
  const look = watcher(node)
  const terminal = process.stdout.isTTY
  let shown = ''
  const draw = () => {
    const { lines, status } = look()
    if (terminal) {
      const text = `${lines.map((line) => `\r\u001b[K${line}\n`).join('')}\r\u001b[K${status}`
      if (text !== shown) process.stdout.write(text)
      shown = text
    } else if (lines.length > 0) {
      process.stdout.write(`${lines.join('\n')}\n`)
    }
  }
  const timer = setInterval(draw, REDRAW_MS)
  return {
    stop() {
      clearInterval(timer)
      upstream.stop()
      if (terminal) process.stdout.write('\n')
    },
  }
}
