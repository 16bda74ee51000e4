import { builtBinary } from '../support/binary.ts'
import { TestCluster, type TestMember, ticketOf } from '../support/cluster.ts'
import { eventually } from '../support/poll.ts'
import type { Check, Report, Size } from './bench.ts'
import { startChild } from './child.ts'
import { figuresOf } from './figures.ts'
import { residentKiBOf } from './meter.ts'
import { grouped, ms, table } from './table.ts'

const SIZES = { full: { facts: 100_000, rounds: 3 }, short: { facts: 200, rounds: 1 } }
const HEAL_MS = 2_000

/** In a process of its own, which gives the memory back. */
const makeIn = async (script: string, wanted: { folder: string; tokens: number } & Record<string, unknown>) => {
  const maker = startChild(script)
  await maker.call('make', wanted).finally(maker.stop)
}

const statusOf = async (member: TestMember) => {
  const status = await member.status()
  if (!status.clustered) throw new Error('it is in no cluster')
  return status
}

/** How long a node needs for what it lacks: all there is, when it joins, and what the other did while they were apart. */
export const clusterFacts = async (size: Size): Promise<Report> => {
  const { facts, rounds } = SIZES[size]
  await using cluster = new TestCluster({ proxied: true, command: [builtBinary()] })
  const first = cluster.member()
  await makeIn('token-maker.ts', { folder: first.data, tokens: facts, upstream: 'http://127.0.0.1:1', secretsMax: 1 })
  await first.start()
  const foundedAt = performance.now()
  const ticket = await ticketOf(first)
  const foundMs = performance.now() - foundedAt
  const joiner = cluster.member()
  const joinedAt = performance.now()
  await joiner.start('--cluster-join', first.url, '--ticket', ticket)
  await eventually(async () => (await statusOf(joiner)).serving, { timeoutMs: 120_000, everyMs: 10 })
  const joinMs = performance.now() - joinedAt

  const healMs: number[] = []
  for (let at = 0; at < rounds; at += 1) {
    await cluster.settled(60_000)
    const id = await first.id()
    await first.stop()
    await makeIn('fact-maker.ts', { folder: first.data, tokens: facts, round: at })
    for (const [to, from] of [
      [joiner, id],
      [first, await joiner.id()],
    ] as const) {
      if (to.proxy) to.proxy.wireFrom(from).cut = true
    }
    await first.start()
    await cluster.cut(first, joiner, false)
    // It asks at once for what the other tells with its first digest.
    await eventually(async () => (await statusOf(joiner)).members.some(({ state }) => state === 'linked'))
    const linkedAt = performance.now()
    await eventually(
      async () => {
        const { members } = await statusOf(first)
        return members.some(({ state, behind }) => state === 'linked' && behind === 0)
      },
      { timeoutMs: 120_000, everyMs: 10 },
    )
    healMs.push(performance.now() - linkedAt)
    console.error(`round ${at + 1} of ${rounds}`)
  }
  const healed = figuresOf(healMs)
  const count = grouped(facts)
  const check: Check = {
    what: `${count} facts of divergence: from the link to equal vectors, median`,
    ...{ value: healed.median / 1_000, unit: 's', target: HEAL_MS / 1_000, side: 'at most', stretch: null },
  }
  return {
    text: `What ${count} tokens take of two nodes, milliseconds (made on the one of them while it did not run)

${table(
  ['', 'median', 'min', 'max'],
  [
    ['the first ticket: all is said as facts', ms(foundMs), '', ''],
    ['a joiner, from its start until it lets clients in', ms(joinMs), '', ''],
    ['healing, from the link to equal vectors', ...[healed.median, healed.min, healed.max].map(ms)],
  ],
)}

It then holds ${grouped(facts * (1 + rounds))} tokens in ${(residentKiBOf(joiner.running.pid) / 1_024).toFixed(0)} MiB.`,
    checks: [check],
    data: { facts, rounds, foundMs, joinMs, healMs },
    failures: [],
    missing: [],
  }
}
