import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { unknownSecret } from '../support/secret.ts'
import type { Size } from './bench.ts'
import type { Child } from './child.ts'
import { figuresOf, median } from './figures.ts'
import type { Rate, Target } from './load.ts'
import { pinned } from './machine.ts'
import { cpuMsOf, TICK_MS } from './meter.ts'
import { getBytes } from './reverse-proxy.ts'

const SIZES = { full: { rounds: 5, loadMs: 1_500 }, short: { rounds: 1, loadMs: 200 } }
const CONNECTIONS = 16
const UNKNOWN_SECRETS = 1_000

/**
 * Under a few tokens, under many, whose own counters and digests are in no processor's cache, and a refusal of a secret
 * that was never issued, which is the check and hardly anything else.
 */
export const KINDS = { few: 'passed on, 10 tokens in use', many: 'passed on, many in use', unknown: 'unknown: 401' }
export type Kind = keyof typeof KINDS
const kinds = Object.keys(KINDS) as Kind[]
const FEW = 10

/** A node on a folder that holds so many tokens, and requests under many of them. */
export interface Populated {
  tokens: number
  node: TestNode
  targets: Record<Kind, Target>
}

export const populated = async (folder: string, tokens: number, secrets: string[]): Promise<Populated> => {
  const node = await startNode({ data: folder, command: pinned('contender', [builtBinary()]) })
  const port = Number(new URL(node.gate).port)
  const to = (token: string) => getBytes({ prefix: '/s/big', token }, '/small')
  const unknown = Array.from({ length: UNKNOWN_SECRETS }, unknownSecret)
  return {
    tokens,
    node,
    targets: {
      few: { port, requests: secrets.slice(0, FEW).map(to), status: '200' },
      many: { port, requests: secrets.map(to), status: '200' },
      unknown: { port, requests: unknown.map(to), status: '401' },
    },
  }
}

/** Processor time of the node for one small request. */
const cpuUsOf = async ({ node, targets }: Populated, kind: Kind, client: Child, forMs: number): Promise<number> => {
  const cpuBefore = cpuMsOf(node.pid)
  const rate = await client.call<Rate>('rate', { target: targets[kind], connections: CONNECTIONS, ms: forMs })
  // On a busy machine a short load is less than the kernel counts: none at all would make the change infinite.
  return (Math.max(TICK_MS, cpuMsOf(node.pid) - cpuBefore) * 1_000) / rate.answers
}

/** What a request costs on one node and on another, in turn; who is first changes from round to round. */
export const costsOf = async (nodes: [few: Populated, many: Populated], client: Child, size: Size) => {
  const { rounds, loadMs } = SIZES[size]
  const costs = new Map<string, number[]>()
  const measure = async (node: Populated, kind: Kind) => {
    const key = `${node.tokens} ${kind}`
    costs.set(key, [...(costs.get(key) ?? []), await cpuUsOf(node, kind, client, loadMs)])
  }
  for (const kind of kinds) for (const node of nodes) await cpuUsOf(node, kind, client, loadMs)
  for (let round = 0; round < rounds; round += 1) {
    for (const kind of kinds) for (const node of round % 2 ? nodes : nodes.toReversed()) await measure(node, kind)
  }
  return kinds.map((kind) => {
    const [few = [], many = []] = nodes.map(({ tokens }) => costs.get(`${tokens} ${kind}`))
    const changes = many.map((value, at) => (value / (few[at] ?? Number.NaN) - 1) * 100)
    return { kind, fewUs: median(few), manyUs: median(many), changePercent: figuresOf(changes) }
  })
}
