import { builtBinary } from '../support/binary.ts'
import { makeBigDatabase } from '../support/big-database.ts'
import { startNode } from '../support/node.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import type { Bench } from './bench.ts'
import { startChild } from './child.ts'
import { playGate, SERVER } from './contender.ts'
import { figuresOf } from './figures.ts'
import type { Reads } from './long-reads.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'

const SIZES = {
  full: { auditRows: 1_000_000, kills: 400, alone: 100 },
  short: { auditRows: 5_000, kills: 3, alone: 2 },
}

/** Kills of one stream while the audit log is verified, exported and backed up, all at once and over and over. */
export const run: Bench = async (size) => {
  const { auditRows, kills, alone } = SIZES[size]
  await using stops = new Stops()
  const folder = tempFolder()
  stops.add({ stop: () => removeFolder(folder) })
  makeBigDatabase({ folder, tokens: 100, auditRows })
  // Hundreds of MB that the kernel has still to write would make every commit of the node wait.
  Bun.spawnSync(['sync'])
  const origin = stops.add(startChild('origin.ts'))
  const client = stops.add(startChild('client.ts'))
  const reader = stops.add(startChild('long-reads.ts'))
  const node = stops.add(await startNode({ data: folder, command: [builtBinary()] }))
  await node.addServer(SERVER, `http://127.0.0.1:${await origin.call<number>('port')}`, { kind: 'http' })

  const failures: string[] = []
  const samples: Record<'alone' | 'beside', { lastMs: number; commitMs: number }[]> = { alone: [], beside: [] }
  const kill = async (name: keyof typeof samples) => {
    const { outcome, receipt, failures: wrong } = await playGate(node, client, 1)
    failures.push(...wrong)
    samples[name].push({ lastMs: outcome.lastMs, commitMs: receipt?.timings.commitMs ?? Number.NaN })
  }
  for (let at = 0; at < alone; at += 1) await kill('alone')
  await reader.call('begin', `${folder}/control.sock`)
  // Each of the reads has gone through the whole log at least once.
  let reads = await reader.call<Reads>('so-far')
  while (samples.beside.length < kills || Math.min(...Object.values(reads.done)) === 0) {
    await kill('beside')
    reads = await reader.call<Reads>('so-far')
    if (reads.failure) throw new Error(reads.failure)
  }
  await reader.call('end')

  const rows = (['alone', 'beside'] as const).map((name) => ({
    name,
    lastMs: figuresOf(samples[name].map(({ lastMs }) => lastMs)),
    commitMs: figuresOf(samples[name].map(({ commitMs }) => commitMs)),
  }))
  const { verified, exported, backedUp } = reads.done
  return {
    text: `Kills of one stream on a node with ${auditRows} audit rows, from the request to the end seen

${table(
  ['', 'kills', 'median ms', 'p99', 'max', 'commit: median ms', 'p99'],
  rows.map(({ name, lastMs, commitMs }) => [
    name === 'alone' ? 'alone' : 'while verified, exported and backed up',
    String(lastMs.count),
    ...[lastMs.median, lastMs.p99, lastMs.max, commitMs.median, commitMs.p99].map(ms),
  ]),
)}

Meanwhile the log was verified ${verified} times, exported ${exported} times and backed up ${backedUp} times.`,
    checks: [
      {
        what: 'kill 1 stream beside verification, export and backup, p99',
        value: rows[1]?.lastMs.p99 ?? Number.NaN,
        unit: 'ms',
        target: 10,
        side: 'at most',
        stretch: 5,
      },
    ],
    data: { auditRows, rows, reads },
    failures,
    missing: [],
  }
}
