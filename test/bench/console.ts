import { setupLinkOf, Visitor } from '../browser/visitor.ts'
import { makeBigDatabase } from '../support/big-database.ts'
import { startNode } from '../support/node.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { startEvents } from '../support/upstreams/events.ts'
import { builtBinary } from '../support/binary.ts'
import { figuresOf } from './figures.ts'
import { ms, table } from './table.ts'

const ROUNDS = 15
const TOKENS = 10_000
const AUDIT_ROWS = 1_000_000
const STREAMS = 1_000
const OUT = 'dist/bench-console.json'
/** What a page may weigh and take (issue 4); a figure beyond it is printed, and decides nothing. */
const BYTES_MAX = 100_000
const PAGE_MS_MAX = 50
const KILLS = 40
const TABS = 5

const sizeOf = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`

/** How large the console's pages are and how long they take, on a node with a lot on it; and what open tabs cost a kill. */
export const run = async (): Promise<string[]> => {
  const failures: string[] = []
  const data = tempFolder()
  const events = await startEvents({ intervalMs: 1_000, burst: 1 })
  const tokens = makeBigDatabase({
    folder: data,
    tokens: TOKENS,
    auditRows: AUDIT_ROWS,
    usageMinutes: 60,
    evidenceAddresses: 20,
    upstream: events.url,
  })
  // Hundreds of MB that the kernel has still to write would make every commit of the node wait.
  Bun.spawnSync(['sync'])
  const node = await startNode({ data, command: [builtBinary()] })
  const streams: RawClient[] = []
  const live = tokens.filter(({ dead }) => !dead)
  const streamOf = async (secret: string) => {
    const stream = await open(node.gate, {
      target: '/s/big/sse',
      headers: { ...bearer(secret), 'user-agent': 'bench/1.0' },
    })
    return stream.until(({ text }) => text.includes('data:'))
  }
  for (let index = 0; index < STREAMS; index += 1) streams.push(await streamOf(live[index % 200]?.secret ?? ''))
  const owner = new Visitor(node.console)
  await owner.usePasswordLink(setupLinkOf(node), 'bench')
  const doomed = live.slice(-1_000).map(({ id }) => id)
  const { id: receipt } = await node.revoke({ tokens: doomed, note: 'of the bench' })

  const [busy] = live
  const dead = tokens.find((token) => token.dead)
  const paths: [name: string, path: string][] = [
    ['overview', '/'],
    ['tokens', '/tokens'],
    ['tokens, filtered', '/tokens?q=9'],
    ['tokens, one found', `/tokens?q=${encodeURIComponent(live[4_321]?.name ?? '')}`],
    ['tokens, dead', '/tokens?state=revoked'],
    ['tokens, unused', '/tokens?look=unused'],
    ['a busy token', `/tokens/${busy?.id}`],
    ['a dead token', `/tokens/${dead?.id}`],
    ['connections', '/connections'],
    ['servers', '/servers'],
    ['a server', '/servers/big'],
    ['revocations', '/revocations'],
    ['receipt of 1,000', `/revocations/${receipt}`],
    ['dry run of all', '/revocations/new?all=yes'],
    ['audit', '/audit'],
    ['audit, far back', '/audit?after=1000'],
    ['audit, of an actor', '/audit?actor=operator%3Aada'],
    ['audit, rare action', '/audit?action=key.rotate'],
    ['audit, of a target', `/audit?target=${busy?.id}`],
    ['audit, part of a name', `/audit?target=${encodeURIComponent(busy?.name ?? '')}`],
    ['audit, two filters', '/audit?actor=operator%3Aada&action=connection.kill'],
    ['an audit row', '/audit/500000'],
    ['access', '/access'],
    ['node', '/node'],
  ]
  const rows: { name: string; path: string; bytes: number; median: number; max: number }[] = []
  const measure = async (name: string, path: string, ask: () => Promise<Response>) => {
    const took: number[] = []
    let bytes = 0
    for (let round = 0; round < ROUNDS; round += 1) {
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
    for (let round = 0; round < KILLS; round += 1) {
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

  console.log(
    `\n${TOKENS} tokens, ${STREAMS} live connections, ${AUDIT_ROWS} audit rows; ${ROUNDS} rounds of each page\n`,
  )
  console.log(
    table(
      ['page', 'size', 'median ms', 'max ms', ''],
      rows.map(({ name, bytes, median, max }) => {
        const beyond = [...(bytes > BYTES_MAX ? ['too large'] : []), ...(median > PAGE_MS_MAX ? ['too slow'] : [])]
        return [name, sizeOf(bytes), ms(median), ms(max), beyond.join(', ')]
      }),
    ),
  )
  console.log(`\n${TABS} tabs refresh themselves ${TABS} times as often as they do; a kill of one stream, end seen:\n`)
  console.log(
    table(
      ['', 'median ms', 'p99 ms'],
      [
        ['no tab', ms(alone.median), ms(alone.p99)],
        ['all tabs', ms(beside.median), ms(beside.p99)],
      ],
    ),
  )
  await Bun.write(
    OUT,
    JSON.stringify({ tokens: TOKENS, streams: STREAMS, auditRows: AUDIT_ROWS, rows, alone, beside }, null, 2),
  )
  for (const stream of streams) stream[Symbol.dispose]()
  await node.stop()
  events.stop()
  removeFolder(data)
  return failures
}
