import { join } from 'node:path'
import {
  Client as StatelessClient,
  StreamableHTTPClientTransport as StatelessTransport,
} from '@modelcontextprotocol/client'
import { Client as SessionClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { bearer } from '../support/secret.ts'
import { startEcho } from '../support/upstreams/echo.ts'
import { startSessionMcp, startStatelessMcp } from '../support/upstreams/mcp.ts'
import type { Noted } from '../support/upstreams/mcp-tools.ts'
import { builtBinary } from '../support/binary.ts'
import { type Figures, figuresOf, median } from './figures.ts'
import { type Cost, costOf } from './refusals.ts'
import { ms, table } from './table.ts'

const ROUNDS = 40
const COST_ROUNDS = 5
const OUT = 'dist/bench-mcp.json'
const INFO = { name: 'bench', version: '1.0.0' }

type Node = Awaited<ReturnType<typeof startNode>>
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
const cutOnce = async (node: Node, { name, server, aborted, connect }: Generation) => {
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

/** How soon calls of MCP fail and their upstreams learn of a revocation; and what a client that hammers a 401 costs. */
export const run = async (): Promise<string[]> => {
  const failures: string[] = []
  const sessions = await startSessionMcp()
  const modern = await startStatelessMcp()
  const echo = await startEcho()
  const node = await startNode({ command: [builtBinary()] })
  try {
    await node.addServer('sessions', sessions.url)
    await node.addServer('stateless', modern.url)
    await node.addServer('echo', echo.url, { kind: 'http' })
    const generations: Generation[] = [
      { name: 'SDK 1, sessions', server: 'sessions', aborted: sessions.aborted, connect: overSession },
      { name: 'SDK 2, 2026-07-28', server: 'stateless', aborted: modern.aborted, connect: stateless },
    ]
    const cuts = []
    for (const generation of generations) {
      const rounds = []
      for (let round = 0; round < ROUNDS; round += 1) rounds.push(await cutOnce(node, generation))
      const wrong = rounds.filter(({ code }) => code !== -32080).length
      if (wrong > 0) failures.push(`${generation.name}: ${wrong} calls did not fail by the gate's error`)
      cuts.push({
        name: generation.name,
        failedMs: figuresOf(rounds.map(({ failedMs }) => failedMs)),
        upstreamMs: figuresOf(rounds.map(({ upstreamMs }) => upstreamMs)),
      })
    }

    const live = await node.createToken('live', ['echo'])
    const dead = await node.createToken('dead', ['echo'])
    await node.revoke({ tokens: [dead.id] })
    const costs: Record<'health' | 'refused' | 'passed', Cost[]> = { health: [], refused: [], passed: [] }
    for (let round = 0; round < COST_ROUNDS; round += 1) {
      costs.health.push(await costOf(node, '/healthz', live.token, '200'))
      costs.refused.push(await costOf(node, '/s/echo/small', dead.token, '401'))
      costs.passed.push(await costOf(node, '/s/echo/small', live.token, '200'))
    }
    const cost = (all: Cost[]) => [
      String(median(all.map(({ perSecond }) => perSecond))),
      median(all.map(({ gateCpuUs }) => gateCpuUs)).toFixed(1),
    ]
    const json = { at: new Date().toISOString(), bun: Bun.version, rounds: ROUNDS, cuts, costs, failures }
    await Bun.write(join(import.meta.dir, '../..', OUT), `${JSON.stringify(json, null, 2)}\n`)
    console.log(`
Milliseconds from asking for a revocation until the call in flight failed, and until the upstream's handler was told

${table(
  ['', 'call failed: median', 'p99', 'max', 'upstream told: median', 'p99', 'max'],
  cuts.map(({ name, failedMs, upstreamMs }) => [name, ...figures(failedMs), ...figures(upstreamMs)]),
)}

Small GET requests over 8 kept connections (medians of ${COST_ROUNDS} rounds)

${table(
  ['', 'a second', "µs of the gate's CPU"],
  [
    ['/healthz', ...cost(costs.health)],
    ['a dead token: 401', ...cost(costs.refused)],
    ['a live token, passed on', ...cost(costs.passed)],
  ],
)}

written to ${OUT}`)
  } finally {
    await node.stop()
    await Promise.all([sessions.stop(), modern.stop(), echo.stop()])
  }
  return failures
}
