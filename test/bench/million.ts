import { removeFolder, tempFolder } from '../support/temp.ts'
import type { TestNode } from '../support/node.ts'
import { builtBinary } from '../support/binary.ts'
import type { Bench, Check } from './bench.ts'
import { startChild } from './child.ts'
import { playGate } from './contender.ts'
import { type Figures, figuresOf } from './figures.ts'
import { serveCommand, startToFirstAnswer } from './first-answer.ts'
import { residentKiBOf } from './meter.ts'
import { freePort } from '../support/port.ts'
import { costsOf, type Kind, KINDS, populated } from './request-cost.ts'
import { Stops } from './stops.ts'
import { grouped, ms, table } from './table.ts'

const SIZES = {
  full: { tokens: 1_000_000, starts: 5, kills: 200 },
  short: { tokens: 1_000, starts: 1, kills: 2 },
}
const FEW = 10
/** Of all tokens, evenly: enough that their digests are not all in a processor's cache. */
const ASKED_MAX = 20_000

/** Starts on the folder; what it holds is looked at once it has answered. */
const startsOn = async (folder: string, times: number) => {
  const started: { ms: number; residentMiB: number }[] = []
  for (let at = 0; at < times; at += 1) {
    const port = freePort()
    const { ms: took, pid, stop } = await startToFirstAnswer(serveCommand(builtBinary(), folder, port), port)
    started.push({ ms: took, residentMiB: residentKiBOf(pid) / 1_024 })
    await stop()
  }
  return started
}

const kills = async (node: TestNode, count: number, originUrl: string) => {
  const failures: string[] = []
  const lastMs: number[] = []
  const client = startChild('client.ts')
  await node.addServer('origin', originUrl, { kind: 'http' })
  try {
    for (let at = 0; at < count; at += 1) {
      const played = await playGate(node, client, 1)
      failures.push(...played.failures)
      lastMs.push(played.outcome.lastMs)
    }
  } finally {
    await client.stop()
  }
  return { lastMs: figuresOf(lastMs), failures }
}

/** What a million tokens cost, beside ten. */
export const run: Bench = async (size) => {
  const { tokens, starts, kills: killCount } = SIZES[size]
  await using stops = new Stops()
  const origin = stops.add(startChild('json-origin.ts'))
  const streams = stops.add(startChild('origin.ts'))
  const client = stops.add(startChild('load.ts'))
  const upstream = `http://127.0.0.1:${await origin.call<number>('port')}`
  const folders = [tempFolder(), tempFolder()] as const
  stops.add({ stop: () => folders.forEach(removeFolder) })
  const make = async (folder: string, count: number) => {
    // A process of its own gives the memory back.
    const maker = startChild('token-maker.ts')
    const wanted = { folder, tokens: count, upstream, secretsMax: ASKED_MAX }
    return maker.call<string[]>('make', wanted).finally(maker.stop)
  }
  const [fewSecrets, manySecrets] = [await make(folders[0], FEW), await make(folders[1], tokens)]
  Bun.spawnSync(['sync'])

  const started = await startsOn(folders[1], starts)
  const startedFew = await startsOn(folders[0], starts)
  const few = await populated(folders[0], FEW, fewSecrets)
  stops.add(few.node)
  const many = await populated(folders[1], tokens, manySecrets)
  stops.add(many.node)
  const costs = await costsOf([few, many], client, size)
  const underLoadMiB = residentKiBOf(many.node.pid) / 1_024
  const originUrl = `http://127.0.0.1:${await streams.call<number>('port')}`
  const killed = await kills(many.node, killCount, originUrl)
  const killedFew = await kills(few.node, killCount, originUrl)

  const figures = (of: typeof started) => ({
    ms: figuresOf(of.map((each) => each.ms)),
    residentMiB: figuresOf(of.map((each) => each.residentMiB)),
  })
  const rows: { name: string; start: ReturnType<typeof figures>; kill: Figures }[] = [
    { name: `${FEW} tokens`, start: figures(startedFew), kill: killedFew.lastMs },
    { name: `${grouped(tokens)} tokens`, start: figures(started), kill: killed.lastMs },
  ]
  const most = (what: string, value: number, unit: Check['unit'], target: number, stretch: number | null): Check => ({
    what: `${grouped(tokens)} tokens: ${what}`,
    ...{ value, unit, target, side: 'at most', stretch },
  })
  const big = rows[1]
  const changeOf = (kind: Kind) => costs.find((cost) => cost.kind === kind)?.changePercent.median ?? Number.NaN
  return {
    text: `Start to the first answer, memory after it, and kills of one stream

${table(
  ['', 'start: median ms', 'max', 'resident MiB', 'kill: median ms', 'p99'],
  rows.map(({ name, start, kill }) => [
    name,
    ...[start.ms.median, start.ms.max, start.residentMiB.median, kill.median, kill.p99].map(ms),
  ]),
)}

After the load it holds ${underLoadMiB.toFixed(0)} MiB. The gate's processor time for a small request, µs, in turn:

${table(
  ['', `${FEW} tokens`, `${grouped(tokens)} tokens`, 'change %', 'min', 'max'],
  costs.map(({ kind, fewUs, manyUs, changePercent: { median: middle, min, max } }) => [
    KINDS[kind],
    ...[fewUs, manyUs, middle, min, max].map((value) => value.toFixed(1)),
  ]),
)}

With many in use the larger node also keeps the counters of ${grouped(manySecrets.length)} tokens, the smaller those of its ${FEW}: only with the
same ${FEW} in use on both is the difference that of what is stored.`,
    checks: [
      most('start', (big?.start.ms.median ?? Number.NaN) / 1_000, 's', 4, 2),
      most('resident', Math.max(big?.start.residentMiB.median ?? Number.NaN, underLoadMiB), 'MiB', 500, 250),
      most('a request that passes, CPU over that of 10 tokens', changeOf('few'), '%', 10, null),
      most('a refusal, CPU over that of 10 tokens', changeOf('unknown'), '%', 10, null),
      most('revoke 1 stream, median', big?.kill.median ?? Number.NaN, 'ms', 5, null),
    ],
    data: { rows, costs, underLoadMiB, started },
    failures: [...killed.failures, ...killedFew.failures],
    missing: [],
  }
}
