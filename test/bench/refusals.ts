import type { Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { median } from './figures.ts'
import type { Rate, Target } from './load.ts'
import { cpuMsOf } from './meter.ts'
import { getBytes, startGate } from './reverse-proxy.ts'
import { Stops } from './stops.ts'
import { table } from './table.ts'

const SIZES = { full: { rounds: 5, ms: 1_000 }, short: { rounds: 1, ms: 200 } }
const CONNECTIONS = 8

/** What a client that hammers a 401 costs, beside the cheapest answer there is and a request that passes. */
export const refusals = async (size: Size): Promise<Report> => {
  const { rounds, ms } = SIZES[size]
  await using stops = new Stops()
  const client = stops.add(startChild('load.ts'))
  const origin = stops.add(startChild('json-origin.ts'))
  const gate = stops.add(await startGate(`http://127.0.0.1:${await origin.call<number>('port')}`))
  const dead = await gate.node.createToken('dead', ['origin'])
  await gate.node.revoke({ tokens: [dead.id] })
  const { port, prefix, token } = gate
  const targets: [name: string, target: Target][] = [
    ['/healthz', { port, requests: [getBytes({ prefix: '', token }, '/healthz')], status: '200' }],
    ['a dead token: 401', { port, requests: [getBytes({ prefix, token: dead.token }, '/small')], status: '401' }],
    ['a live token, passed on', { port, requests: [getBytes(gate, '/small')], status: '200' }],
  ]
  const samples = targets.map((): { perSecond: number; cpuUs: number }[] => [])
  for (let round = 0; round < rounds; round += 1) {
    for (const [at, [, target]] of targets.entries()) {
      const before = cpuMsOf(gate.pid)
      const rate = await client.call<Rate>('rate', { target, connections: CONNECTIONS, ms })
      samples[at]?.push({
        perSecond: (rate.answers * 1_000) / rate.tookMs,
        cpuUs: ((cpuMsOf(gate.pid) - before) * 1_000) / rate.answers,
      })
    }
  }
  const rows = targets.map(([name], at) => ({
    name,
    perSecond: median((samples[at] ?? []).map(({ perSecond }) => perSecond)),
    cpuUs: median((samples[at] ?? []).map(({ cpuUs }) => cpuUs)),
  }))
  return {
    text: `Small GET requests over ${CONNECTIONS} kept connections (medians of ${rounds} rounds)

${table(
  ['', 'a second', "µs of the gate's CPU"],
  rows.map(({ name, perSecond, cpuUs }) => [name, perSecond.toFixed(0), cpuUs.toFixed(1)]),
)}`,
    checks: [],
    data: { rounds, rows },
    failures: [],
    missing: [],
  }
}
