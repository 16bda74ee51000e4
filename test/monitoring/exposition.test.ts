import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { PHASES } from '../../src/revocation-measures.ts'
import { REFUSALS } from '../../src/cluster-measures.ts'
import { SELFTEST_STEPS } from '../../src/selftest.ts'
import type { ClusteredJson, TokenJson } from '../../src/server/api/schemas.ts'
import { portcullis } from '../cli/run.ts'
import { figure, metricOf } from '../support/exposition.ts'
import { eventually } from '../support/poll.ts'
import { promtool } from '../support/prometheus.ts'
import { PRIVATE, startUsedNode } from './used.ts'

let used: Awaited<ReturnType<typeof startUsedNode>>
beforeAll(async () => {
  used = await startUsedNode()
}, 60_000)
afterAll(() => used[Symbol.asyncDispose]())

test('promtool has nothing to say about it', async () => {
  const { text } = await used.scrape()
  expect(await promtool(['check', 'metrics'], text)).toEqual({ code: 0, said: '' })
})

test('each metric says what it is, and each series is of one metric, once', async () => {
  const { types, help, series } = (await used.scrape()).read
  expect([...types.keys()].toSorted()).toEqual([...help.keys()].toSorted())
  for (const name of types.keys()) expect(name).toMatch(/^(?:portcullis|process)_[a-z_]+$/)
  for (const { name } of series) expect([name, types.has(metricOf(name, types))]).toEqual([name, true])
  const keys = series.map(({ name, labels }) => JSON.stringify([name, Object.entries(labels).toSorted()]))
  expect(new Set(keys).size).toBe(keys.length)
})

describe('what was done is told', () => {
  const read = async () => (await used.scrape()).read

  test('revocations, by phase, and what died', async () => {
    const now = await read()
    expect(figure(now, 'portcullis_revocations_total', { durable: 'true' })).toBe(2)
    expect(figure(now, 'portcullis_revocations_total', { durable: 'false' })).toBe(0)
    expect(figure(now, 'portcullis_revoked_tokens_total')).toBe(2)
    expect(figure(now, 'portcullis_cuts_total', { cause: 'token_revoked' })).toBe(3)
    // Only one of the two cut anything.
    const counts = Object.keys(PHASES).map((phase) => [
      phase,
      figure(now, 'portcullis_revocation_duration_seconds_count', { phase }),
    ])
    expect(Object.fromEntries(counts)).toEqual({ commit: 2, deny: 2, first_cut: 1, last_cut: 1, upstream_cancelled: 1 })
  })

  test('the same times as on the receipt', async () => {
    const before = await read()
    const { id } = await used.node.createToken('timed', [PRIVATE.server])
    const { timings } = await used.node.revoke({ tokens: [id] })
    const after = await read()
    const sum = (at: typeof after) => figure(at, 'portcullis_revocation_duration_seconds_sum', { phase: 'commit' })
    expect(sum(after) - sum(before)).toBeCloseTo((timings.commitMs ?? 0) / 1000, 9)
  })

  test('a revocation of nothing, and one that only asks what would die, count for nothing', async () => {
    const before = figure(await read(), 'portcullis_revocation_duration_seconds_count', { phase: 'commit' })
    await used.node.revoke({ tokens: [used.lives.id], dryRun: true })
    await used.node.revoke({ tokens: [PRIVATE.token] })
    expect(figure(await read(), 'portcullis_revocation_duration_seconds_count', { phase: 'commit' })).toBe(before)
  })

  test('buckets hold what they say, up to all of it', async () => {
    const { series, types } = await read()
    const buckets = Map.groupBy(
      series.filter(({ name }) => name.endsWith('_bucket')),
      ({ name, labels }) =>
        JSON.stringify([metricOf(name, types), Object.entries(labels).filter(([label]) => label !== 'le')]),
    )
    expect(buckets.size).toBeGreaterThan(10)
    for (const [key, own] of buckets) {
      const [metric, labels] = JSON.parse(key) as [string, [string, string][]]
      const bounds = own.map(({ labels: { le } }) => (le === '+Inf' ? Infinity : Number(le)))
      expect(bounds).toEqual(bounds.toSorted((a, b) => a - b))
      const counts = own.map(({ value }) => value)
      expect(counts).toEqual(counts.toSorted((a, b) => a - b))
      expect(counts.at(-1)).toBe(figure({ series, types, help: types }, `${metric}_count`, Object.fromEntries(labels)))
    }
  })

  test('live connections by kind, and none is counted twice', async () => {
    const now = await read()
    const kinds = ['sse', 'stream', 'request', 'session'].map((kind) => figure(now, 'portcullis_connections', { kind }))
    expect(kinds).toEqual([2, 0, 0, 1])
    const { json } = await used.node.api<{ items: unknown[] }>('GET', '/connections')
    expect(json.items.length).toBe(3)
    const gone = await used.call(used.lives.token, `/s/${PRIVATE.server}/sse`)
    await eventually(async () => figure(await read(), 'portcullis_connections', { kind: 'sse' }) === 3)
    await gone.body?.cancel()
    await eventually(async () => figure(await read(), 'portcullis_connections', { kind: 'sse' }) === 2)
  })

  test('refusals by reason, and tries with dead tokens', async () => {
    const { series } = await read()
    const refusals = Object.fromEntries(
      series
        .filter(({ name }) => name === 'portcullis_refusals_total')
        .map(({ labels, value }) => [labels['reason'], value]),
    )
    expect(refusals).toEqual({
      'token-revoked': 4,
      'token-unknown': 1,
      'server-unknown': 1,
      'upstream-unreachable': 1,
      'policy-unreadable': 1,
    })
    expect(figure(await read(), 'portcullis_dead_token_tries_total')).toBe(4)
  })

  test('the disk and the process', async () => {
    const now = await read()
    expect(figure(now, 'portcullis_commit_duration_seconds_count')).toBeGreaterThan(5)
    expect(figure(now, 'portcullis_transaction_duration_seconds_sum')).toBeGreaterThan(
      figure(now, 'portcullis_commit_duration_seconds_sum'),
    )
    expect(figure(now, 'portcullis_transaction_failures_total')).toBe(0)
    expect(figure(now, 'portcullis_database_size_bytes')).toBeGreaterThan(0)
    expect(figure(now, 'portcullis_database_wal_size_bytes')).toBeGreaterThan(0)
    expect(figure(now, 'portcullis_data_available_bytes')).toBeGreaterThan(0)
    const { json: audit } = await used.node.api<{ items: { sequence: number }[] }>('GET', '/audit?limit=1&order=desc')
    expect(figure(now, 'portcullis_audit_rows')).toBe(audit.items[0]?.sequence as number)
    // Two days at most: what was made for this test.
    const endsInS = figure(now, 'portcullis_certificate_expiry_timestamp_seconds') - Date.now() / 1000
    expect(Math.ceil(endsInS / 86_400)).toBe(2)
    const links = [...new Bun.Glob('*').scanSync({ cwd: `/proc/${used.node.pid}/fd`, onlyFiles: false })].length
    expect(Math.abs(figure(now, 'process_open_fds') - links)).toBeLessThan(10)
    expect(figure(now, 'process_resident_memory_bytes') / (await used.node.residentBytes())).toBeCloseTo(1, 0)
    const ageS = Date.now() / 1000 - figure(now, 'process_start_time_seconds')
    expect(ageS).toBeGreaterThan(0)
    expect(ageS).toBeLessThan(120)
    expect(figure(now, 'portcullis_tokens')).toBe(
      (await used.node.api<{ items: TokenJson[] }>('GET', '/tokens')).json.items.length,
    )
  })

  test('a backup and a verification, once they were made', async () => {
    const before = await read()
    expect(figure(before, 'portcullis_backup_timestamp_seconds')).toBe(0)
    expect(figure(before, 'portcullis_audit_verified_timestamp_seconds')).toBe(0)
    const agoS = (at: typeof before, name: string) => Date.now() / 1000 - figure(at, name)
    await used.node.api('GET', '/audit/verification')
    await portcullis(['--data', used.node.data, 'backup', join(used.node.data, 'one.backup')])
    const after = await read()
    expect(agoS(after, 'portcullis_backup_timestamp_seconds')).toBeLessThan(60)
    expect(agoS(after, 'portcullis_audit_verified_timestamp_seconds')).toBeLessThan(60)
    expect(figure(after, 'portcullis_audit_verification_duration_seconds')).toBeGreaterThan(0)
    expect(figure(after, 'portcullis_audit_intact')).toBe(1)
  })
})

describe('the node’s own test', () => {
  test('is told', async () => {
    const { read } = await used.scrape()
    expect(figure(read, 'portcullis_probe_interval_seconds')).toBe(1)
    expect(figure(read, 'portcullis_probe_runs_total')).toBeGreaterThan(0)
    const steps = read.series.filter(({ name }) => name === 'portcullis_probe_failures_total')
    expect(steps.map(({ labels, value }) => [labels['step'], value])).toEqual(
      Object.keys(SELFTEST_STEPS).map((step) => [step, 0]),
    )
    for (const phase of ['commit', 'last_cut', 'end_seen'])
      expect(figure(read, 'portcullis_probe_duration_seconds_count', { phase })).toBeGreaterThan(0)
    const ageS = Date.now() / 1000 - figure(read, 'portcullis_probe_success_timestamp_seconds')
    expect(ageS).toBeLessThan(30)
  })

  test('changes nothing of what is told about clients, servers and tokens', async () => {
    // All but time, the disk, the process, and what tells of the test itself.
    const own =
      /^(?:process|portcullis_(?:probe|loop|commit|transaction|database|data|audit|queue|cluster_lease|cluster_round_trip))/
    const told = async () => {
      const { series } = (await used.scrape()).read
      return series.filter(({ name }) => !own.test(name))
    }
    const before = await told()
    expect(before.length).toBeGreaterThan(100)
    const runs = async () => figure((await used.scrape()).read, 'portcullis_probe_runs_total')
    const first = await runs()
    while ((await runs()) < first + 2) {
      const { status } = await used.node.api('POST', '/selftest')
      expect(status).toBe(200)
      expect(await told()).toEqual(before)
    }
  })
})

test('of the other node it tells that it is linked, by id, and of what came from there', async () => {
  const { read } = await used.scrape()
  const { json } = await used.node.api<ClusteredJson>('GET', '/cluster')
  const other = json.members.find(({ state }) => state === 'linked')?.id as string
  expect(figure(read, 'portcullis_cluster_members')).toBe(2)
  expect(figure(read, 'portcullis_cluster_member_up', { node: other })).toBe(1)
  expect(figure(read, 'portcullis_cluster_round_trip_seconds', { node: other })).toBeGreaterThan(0)
  expect(figure(read, 'portcullis_cluster_member_behind_facts', { node: other })).toBe(0)
  for (const still of ['isolated', 'incomplete_revocations', 'removed_not_off', 'behind_facts'])
    expect([still, figure(read, `portcullis_cluster_${still}`)]).toEqual([still, 0])
  expect(figure(read, 'portcullis_cluster_serving')).toBe(1)
  const left = figure(read, 'portcullis_cluster_lease_left_seconds')
  expect(left).toBeGreaterThan(0)
  expect(left).toBeLessThanOrEqual(5)
  for (const reason of REFUSALS) expect(figure(read, 'portcullis_cluster_refused_total', { reason })).toBe(0)
  expect(figure(read, 'portcullis_cluster_links_lost_total')).toBeGreaterThanOrEqual(0)

  const there = await used.other.createToken('made there', [PRIVATE.server])
  await used.other.revoke({ tokens: [there.id] })
  const applied = async (stream: string) =>
    figure((await used.scrape()).read, 'portcullis_cluster_facts_applied_total', { stream })
  const before = ['revocation', 'change'].map((stream) =>
    figure(read, 'portcullis_cluster_facts_applied_total', { stream }),
  )
  await eventually(async () => (await applied('revocation')) === (before[0] as number) + 1)
  expect(await applied('change')).toBeGreaterThanOrEqual((before[1] as number) + 1)
})

test('labels are few, and tell of nobody', async () => {
  const { text, read } = await used.scrape()
  for (const hidden of [...Object.values(PRIVATE), used.lives.id, used.lives.token, used.apiKey, used.node.data])
    expect(text).not.toContain(hidden)
  expect(text).not.toMatch(/pc[la]_|tok_|rev_|\d+\.\d+\.\d+\.\d+/)
  const values = Map.groupBy(
    read.series.flatMap(({ labels }) => Object.entries(labels)),
    ([label]) => label,
  )
  expect([...values.keys()].toSorted()).toEqual(
    [
      ...['cause', 'commit', 'durable', 'kind', 'le', 'node', 'phase', 'queue', 'reason', 'server', 'step'],
      ...['stream', 'version'],
    ].toSorted(),
  )
  const servers = new Set(values.get('server')?.map(([, id]) => id))
  const { json } = await used.node.api<{ items: { id: string }[] }>('GET', '/servers')
  expect([...servers].toSorted()).toEqual(json.items.map(({ id }) => id).toSorted())
})
