import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import type { Noted } from '../support/upstreams/mcp-tools.ts'
import type { Report, Size } from './bench.ts'
import { builtBinary } from '../support/binary.ts'
import { type Figures, figuresOf } from './figures.ts'
import { pinned } from './machine.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'

const SIZES = { full: { rounds: 40 }, short: { rounds: 2 } }
const INFO = { name: 'bench', version: '1.0.0' }

type Calling = { call: (onprogress: () => void) => Promise<unknown>; close: () => Promise<void> }
type Generation = {
  name: string
  server: string
  aborted: Noted[]
  connect: (url: URL, secret: string) => Promise<Calling>
}

const overSession: Generation['connect'] = async (url, secret) => {
  const client = new SessionClient(INFO)
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers: bearer(secret) } }))
  return {
    call: (onprogress) => client.callTool({ name: 'slow', arguments: { seconds: 60 } }, undefined, { onprogress }),
    close: () => client.close(),
  }
}

const stateless: Generation['connect'] = async (url, secret) => {
  const client = new StatelessClient(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } })
  await client.connect(new StatelessTransport(url, { requestInit: { headers: bearer(secret) } }))
  return {
    call: (onprogress) => client.callTool({ name: 'slow', arguments: { seconds: 60 } }, { onprogress }),
    close: () => client.close(),
  }
}

/** From the request to revoke until the call failed at the client, and until the upstream's handler was told. */
const cutOnce = async (node: TestNode, { name, server, aborted, connect }: Generation) => {
  const { id, token } = await node.createToken(`${name} ${crypto.randomUUID()}`, [server])
  const client = await connect(new URL(`${node.gate}/s/${server}`), token)
  let progress = 0
  const failed = client
    .call(() => (progress += 1))
    .then(
      () => null,
      (error: unknown) => ({ at: performance.now(), code: (error as { code?: number }).code }),
    )
  await eventually(() => progress > 0)
  const known = aborted.length
  const before = performance.now()
  await node.revoke({ tokens: [id] })
  const failure = await failed
  await eventually(() => aborted.length > known)
  await client.close()
  return {
    failedMs: (failure?.at ?? Number.NaN) - before,
    upstreamMs: (aborted[known]?.at ?? Number.NaN) - before,
    code: failure?.code ?? null,
  }
}

const figures = ({ median: middle, p99, max }: Figures) => [middle, p99, max].map(ms)

/** How soon calls of MCP fail, and their upstreams learn of a revocation. */
export const mcpCuts = async (size: Size): Promise<Report> => {
  const { rounds } = SIZES[size]
  await using stops = new Stops()
  const sessions = stops.add(await startSessionMcp())
  const modern = stops.add(await startStatelessMcp())
  const node = stops.add(await startNode({ command: pinned('contender', [builtBinary()]) }))
  await node.addServer('sessions', sessions.url)
  await node.addServer('stateless', modern.url)
  const generations: Generation[] = [
    { name: 'SDK 1, sessions', server: 'sessions', aborted: sessions.aborted, connect: overSession },
    { name: 'SDK 2, 2026-07-28', server: 'stateless', aborted: modern.aborted, connect: stateless },
  ]
  const failures: string[] = []
  const rows = []
  for (const generation of generations) {
    const cuts = []
    for (let round = 0; round < rounds; round += 1) cuts.push(await cutOnce(node, generation))
    const wrong = cuts.filter(({ code }) => code !== -32080).length
    if (wrong > 0) failures.push(`${generation.name}: ${wrong} calls did not fail by the gate's error`)
    rows.push({
      name: generation.name,
      failedMs: figuresOf(cuts.map(({ failedMs }) => failedMs)),
      upstreamMs: figuresOf(cuts.map(({ upstreamMs }) => upstreamMs)),
    })
  }
  return {
    text: `Milliseconds from asking for a revocation until the call in flight failed, and until the upstream's handler was told

${table(
  ['', 'call failed: median', 'p99', 'max', 'upstream told: median', 'p99', 'max'],
  rows.map(({ name, failedMs, upstreamMs }) => [name, ...figures(failedMs), ...figures(upstreamMs)]),
)}`,
    checks: [],
    data: { rounds, rows },
    failures,
    missing: [],
  }
}
