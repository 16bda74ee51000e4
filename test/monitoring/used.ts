import { join } from 'node:path'
import { makeKey } from '../api/console.ts'
import { type Exposition, readExposition } from '../support/exposition.ts'
import { startCluster, type TestMember } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import { open } from '../support/raw.ts'
import { bearer, unknownSecret } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { startSessionMcp } from '../support/upstreams/mcp.ts'

const INSECURE = { tls: { rejectUnauthorized: false } }

const INITIALIZE = {
  protocolVersion: '2025-06-18',
  capabilities: {},
  clientInfo: { name: 'dana-agent', version: '3.1' },
}

/** What must be in no metric: names of tokens, subjects and people, and where they come from. */
export const PRIVATE = {
  token: 'Cursor of Dana',
  subject: 'dana@example.com',
  group: 'contractors-phoenix',
  address: '198.51.100.77',
  client: 'dana-agent/3.1',
  server: 'wiki-of-dana',
}

/**
 * One of two nodes, with TLS, to which most of what is measured has happened: a revocation that cut streams and one of a token that
 * was used by nobody, dead and unknown tokens, live connections of each kind, servers that answer and one that does not.
 */
export const startUsedNode = async () => {
  const folder = tempFolder()
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await Bun.$`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${key} -out ${cert} -days 2 -subj /CN=localhost`.quiet()
  const cluster = await startCluster(2, {
    args: [
      ...['--tls-cert', cert, '--tls-key', key, '--trusted-proxy', '127.0.0.0/8', '--probe-every', '1s'],
      ...['--cluster-policy', 'lease'],
    ],
  })
  const [{ running: node }, { running: other }] = cluster.members as [TestMember, TestMember]
  const events = await startEvents()
  const mcp = await startSessionMcp()
  const apiKey = (await makeKey(node, 'prometheus', 'auditor')).key
  const headersOf = (secret: string) => ({
    ...bearer(secret),
    'X-Forwarded-For': PRIVATE.address,
    'User-Agent': PRIVATE.client,
  })

  await node.addServer(PRIVATE.server, events.url)
  await node.addServer('gone', 'http://127.0.0.1:1')
  await node.addServer('mcp', mcp.url)
  await node.addCommand('command', ['cat'])
  for (const name of ['gone', 'mcp']) await node.api('POST', `/servers/${name}/probes`)

  const issue = (name: string) =>
    node.createToken(name, [PRIVATE.server, 'gone', 'mcp'], { subject: PRIVATE.subject, group: PRIVATE.group })
  const call = (secret: string, path: string, init: RequestInit = {}) =>
    fetch(`${node.gate}${path}`, { ...INSECURE, headers: headersOf(secret), ...init })
  const stream = async (secret: string) => {
    const client = await open(node.gate, { target: `/s/${PRIVATE.server}/sse`, headers: headersOf(secret) })
    return client.until(({ head }) => head !== null)
  }

  const dies = await issue(PRIVATE.token)
  const cut = [await stream(dies.token), await stream(dies.token), await stream(dies.token)]
  await node.revoke({ tokens: [dies.id] })
  await Promise.all(cut.map((client) => client.done()))
  for (let tries = 0; tries < 4; tries += 1) await call(dies.token, `/s/${PRIVATE.server}/x`)
  const unused = await issue('never used')
  await node.revoke({ tokens: [unused.id] })
  await call(unknownSecret(), `/s/${PRIVATE.server}/x`)

  const lives = await issue('lives')
  await call(lives.token, '/s/gone/x')
  await call(lives.token, '/s/nowhere/x')
  const limited = await node.createToken('limited', ['mcp'], { policy: { allow: ['echo'] } })
  await call(limited.token, '/s/mcp/mcp', { method: 'POST', body: 'no JSON' })
  const begin = await fetch(`${node.gate}/s/mcp/mcp`, {
    ...INSECURE,
    method: 'POST',
    headers: {
      ...headersOf(lives.token),
      'Content-Type': 'application/json',
      Accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: INITIALIZE }),
  })
  await begin.text()
  const live = [await stream(lives.token), await stream(lives.token)]

  const scrape = async (): Promise<{ text: string; read: Exposition }> => {
    const response = await fetch(`${node.console}/metrics`, { ...INSECURE, headers: bearer(apiKey) })
    if (response.status !== 200) throw new Error(`/metrics answered ${response.status}`)
    const text = await response.text()
    return { text, read: readExposition(text) }
  }
  // The node's own test counts at its end, a question to the other node with its answer.
  for (const wanted of [/^portcullis_probe_success 1$/m, /^portcullis_cluster_round_trip_seconds\{/m])
    await eventually(async () => wanted.test((await scrape()).text), { timeoutMs: 15_000 })
  return {
    node,
    other,
    mcp,
    lives,
    apiKey,
    call,
    scrape,
    [Symbol.asyncDispose]: async () => {
      for (const client of live) client.close()
      await cluster[Symbol.asyncDispose]()
      await events.stop()
      await mcp.stop()
    },
  }
}
