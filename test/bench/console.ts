import { setupLinkOf, Visitor } from '../browser/visitor.ts'
import { makeBigDatabase } from '../support/big-database.ts'
import { startNode } from '../support/node.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { builtBinary } from '../support/binary.ts'
import type { Bench } from './bench.ts'
import { figuresOf } from './figures.ts'
import { Stops } from './stops.ts'
import { ms, table } from './table.ts'

const SIZES = {
  full: { rounds: 15, tokens: 10_000, auditRows: 1_000_000, streams: 1_000, kills: 100 },
  short: { rounds: 1, tokens: 1_500, auditRows: 10_000, streams: 20, kills: 2 },
}
/** What a page may weigh and take, in bytes and milliseconds; a figure beyond it is printed, and decides nothing. */
const BYTES_MAX = 100_000
const PAGE_MS_MAX = 50
const TABS = 5

const sizeOf = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`

/** How large the console's pages are and how long they take, on a node with a lot on it; and what open tabs cost a kill. */
export const run: Bench = async (size) => {
  const { rounds, tokens: tokenCount, auditRows, streams: streamCount, kills: killCount } = SIZES[size]
  const failures: string[] = []
  await using stops = new Stops()
  const data = tempFolder()
  stops.add({ stop: () => removeFolder(data) })
  const events = stops.add(await startEvents({ intervalMs: 1_000, burst: 1 }))
  const tokens = makeBigDatabase({
    folder: data,
    tokens: tokenCount,
    auditRows,
    usageMinutes: 60,
    evidenceAddresses: 20,
    upstream: events.url,
  })
  // Hundreds of MB that the kernel has still to write would make every commit of the node wait.
  Bun.spawnSync(['sync'])
  const node = stops.add(await startNode({ data, command: [builtBinary()] }))
  const streams: RawClient[] = []
  stops.add({ stop: () => streams.forEach((stream) => stream[Symbol.dispose]()) })
  const live = tokens.filter(({ dead }) => !dead)
  const streamOf = async (secret: string) => {
    const stream = await open(node.gate, {
      target: '/s/big/sse',
      headers: { ...bearer(secret), 'user-agent': 'bench/1.0' },
    })
    return stream.until(({ text }) => text.includes('data:'))
  }
  for (let index = 0; index < streamCount; index += 1) streams.push(await streamOf(live[index % 200]?.secret ?? ''))
  const owner = new Visitor(node.console)
  await owner.usePasswordLink(await setupLinkOf(node), 'bench')
  const doomed = live.slice(-Math.floor(tokenCount / 10)).map(({ id }) => id)
  const { id: receipt } = await node.revoke({ tokens: doomed, note: 'of the bench' })

  const [busy] = live
  const dead = tokens.find((token) => token.dead)
  const paths: [name: string, path: string][] = [
    ['overview', '/'],
    ['tokens', '/tokens'],
    ['tokens, filtered', '/tokens?q=9'],
    ['tokens, one found', `/tokens?q=${encodeURIComponent(live[1_234]?.name ?? '')}`],
    ['tokens, dead', '/tokens?state=revoked'],
    ['tokens, unused', '/tokens?look=unused'],
    ['a busy token', `/tokens/${busy?.id}`],
    ['a dead token', `/tokens/${dead?.id}`],
    ['connections', '/connections'],
    ['servers', '/servers'],
    ['a server', '/servers/big'],
    ['revocations', '/revocations'],
    ['receipt of many', `/revocations/${receipt}`],
    ['dry run of all', '/revocations/new?all=yes'],
    ['audit', '/audit'],
    ['audit, far back', '/audit?after=1000'],
    ['audit, of an actor', '/audit?actor=operator%3Aada'],
    ['audit, rare action', '/audit?action=key.rotate'],
    ['audit, of a target', `/audit?target=${busy?.id}`],
    ['audit, part of a name', `/audit?target=${encodeURIComponent(busy?.name ?? '')}`],
    ['audit, two filters', '/audit?actor=operator%3Aada&action=connection.kill'],
    ['an audit row', `/audit/${auditRows / 2}`],
    ['access', '/access'],
    ['cluster', '/cluster'],
    ['node', '/node'],
  ]
  const rows: { name: string; path: string; bytes: number; median: number; max: number }[] = []
  const measure = async (name: string, path: string, ask: () => Promise<Response>) => {
    const took: number[] = []
    let bytes = 0
    for (let round = 0; round < rounds; round += 1) {
      const before = performance.now()
      const answer = await ask()
      bytes = (await answer.arrayBuffer()).byteLength
      took.push(performance.now() - before)
      if (answer.status !== 200) return void failures.push(`${path} answered ${answer.status}`)
    }
    const { median, max } = figuresOf(took)
    rows.push({ name, path, bytes, median, max })
  }
  for (const [name, path] of paths) await measure(name, path, () => owner.get(path))
  for (const [name, q] of [
    ['palette, empty', ''],
    ['palette, a letter', 'e'],
    ['palette, a secret', busy?.secret ?? ''],
  ] as const)
    await measure(name, '/find', () => owner.post('/find', { q }, { 'hx-request': 'true' }))

  const kills = async () => {
    const took: number[] = []
    for (let round = 0; round < killCount; round += 1) {
      const { id, token } = await node.createToken(`kill ${crypto.randomUUID()}`, ['big'])
      using stream = await streamOf(token)
      const before = performance.now()
      await node.revoke({ tokens: [id] })
      await stream.until((client) => client.ended !== 'open' || client.complete)
      took.push(performance.now() - before)
    }
    return figuresOf(took)
  }
  const alone = await kills()
  let isPolling = true
  const poll = async (path: string) => {
    while (isPolling) {
      await (await owner.get(path, { 'hx-request': 'true', 'x-live': '1' })).arrayBuffer()
      await Bun.sleep(2_000 / TABS)
    }
  }
  const tabs = ['/', '/tokens', '/connections', `/tokens/${busy?.id}`, '/audit'].map(poll)
  const beside = await kills()
  isPolling = false
  await Promise.all(tabs)

  const text = `${tokenCount} tokens, ${streamCount} live connections, ${auditRows} audit rows; ${rounds} rounds of each page

${table(
  ['page', 'size', 'median ms', 'max ms', ''],
  rows.map((row) => {
    const beyond = [...(row.bytes > BYTES_MAX ? ['too large'] : []), ...(row.median > PAGE_MS_MAX ? ['too slow'] : [])]
    return [row.name, sizeOf(row.bytes), ms(row.median), ms(row.max), beyond.join(', ')]
  }),
)}

${TABS} tabs refresh themselves ${TABS} times as often as they do; a kill of one stream, end seen:

${table(
  ['', 'median ms', 'p99 ms'],
  [
    ['no tab', ms(alone.median), ms(alone.p99)],
    ['all tabs', ms(beside.median), ms(beside.p99)],
  ],
)}`
  const atMost = { side: 'at most' as const, stretch: null }
  return {
    text,
    checks: [
      {
        what: 'the slowest page of the console, median',
        value: Math.max(...rows.map(({ median }) => median)),
        ...{ unit: 'ms', target: PAGE_MS_MAX, ...atMost },
      },
      {
        what: 'the largest page of the console',
        value: Math.max(...rows.map(({ bytes }) => bytes)) / 1_024,
        ...{ unit: 'KiB', target: BYTES_MAX / 1_024, ...atMost },
      },
    ],
    data: { rows, alone, beside },
    failures,
    missing: [],
  }
}
