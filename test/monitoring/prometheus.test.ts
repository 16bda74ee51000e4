import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { makeKey } from '../api/console.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { startNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { hasPrometheus, startPrometheus } from '../support/prometheus.ts'
import { tempFolder } from '../support/temp.ts'
import { expressions } from './dashboard.ts'
import { readAlerts, rules } from './rules.ts'
import { startUsedNode } from './used.ts'

/** As they are, but none waits before it fires. */
const atOnce = () => ({
  groups: readAlerts().groups.map((group) => ({
    ...group,
    rules: group.rules.map(({ alert, expr, labels, annotations }) => ({ alert, expr, labels, annotations })),
  })),
})

/** What a node would tell to which everything has happened; counters go up each time. */
const sick = () => {
  let times = 0
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: () => {
      times += 1
      const slow = (name: string, labels: string) =>
        `${name}_bucket{${labels}le="0.04"} 0\n${name}_bucket{${labels}le="0.05"} ${times}\n${name}_bucket{${labels}le="+Inf"} ${times}\n`
      return new Response(
        `portcullis_ready 0
portcullis_probe_success 0
portcullis_probe_interval_seconds 1
portcullis_probe_timestamp_seconds 0
portcullis_revocations_total{durable="false"} ${times}
portcullis_queue_length{queue="journal"} 1
portcullis_journal_used_bytes 1000000
portcullis_journal_size_bytes 1048576
portcullis_audit_intact 0
${slow('portcullis_revocation_duration_seconds', 'phase="last_cut",')}${slow('portcullis_commit_duration_seconds', '')}
portcullis_loop_delay_max_seconds 2.5
portcullis_connections{kind="sse"} 900
portcullis_connections_limit 1000
process_open_fds 900
process_max_fds 1000
portcullis_data_available_bytes 1000
portcullis_certificate_expiry_timestamp_seconds ${Math.round(Date.now() / 1000) + 86_400}
portcullis_backup_timestamp_seconds 0
portcullis_dead_token_tries_total ${times}
portcullis_stdio_crashes_total{server="fs"} ${times * 10}
portcullis_cluster_isolated 1
portcullis_cluster_serving 0
portcullis_cluster_incomplete_revocations 2
portcullis_cluster_member_up{node="node_1"} 0
portcullis_cluster_refused_total{reason="wrong_key"} ${times}
`,
        { headers: { 'content-type': 'text/plain; version=0.0.4' } },
      )
    },
  })
  return { target: `127.0.0.1:${server.port}`, stop: () => server.stop(true) }
}

const here = hasPrometheus()

describe.if(here)('a Prometheus that asks a node five times a second', () => {
  let used: Awaited<ReturnType<typeof startUsedNode>>
  let prometheus: Awaited<ReturnType<typeof startPrometheus>>
  let full: { disk: Awaited<ReturnType<typeof smallFolder>>; node: Awaited<ReturnType<typeof startNode>> } | null = null
  let patient: ReturnType<typeof sick>

  const targetOf = (url: string) => new URL(url).host
  /** Alerts that fire about one target, by name. */
  const firingAt = async (instance: string): Promise<string[]> =>
    (await prometheus.alerts())
      .filter(({ labels, state }) => labels['instance'] === instance && state === 'firing')
      .map(({ labels }) => labels['alertname'] as string)
      .toSorted()

  beforeAll(async () => {
    used = await startUsedNode()
    patient = sick()
    const files: Record<string, string> = { 'alerts.yml': JSON.stringify(atOnce()), 'api-key': used.apiKey }
    const job = (name: string, target: string, more: object = {}) => ({
      job_name: name,
      static_configs: [{ targets: [target], labels: { job: 'portcullis' } }],
      ...more,
    })
    const authorization = (file: string) => ({ authorization: { type: 'Bearer', credentials_file: file } })
    const scrapes = [
      job('used', targetOf(used.node.console), {
        scheme: 'https',
        tls_config: { insecure_skip_verify: true },
        ...authorization('api-key'),
      }),
      job('sick', patient.target),
      job('gone', '127.0.0.1:1'),
    ]
    if (mayMount()) {
      const disk = await smallFolder()
      const node = await startNode({ data: disk.data, env: { HOME: tempFolder() } })
      full = { disk, node }
      files['full-key'] = (await makeKey(node, 'prometheus', 'auditor')).key
      scrapes.push(job('full', targetOf(node.console), authorization('full-key')))
    }
    prometheus = await startPrometheus(
      {
        global: { scrape_interval: '200ms', scrape_timeout: '200ms', evaluation_interval: '200ms' },
        rule_files: ['alerts.yml'],
        scrape_configs: scrapes,
      },
      files,
    )
    await eventually(async () => (await prometheus.query('up{job="portcullis"} == 1')).length === scrapes.length - 1, {
      timeoutMs: 15_000,
      everyMs: 100,
    })
  }, 60_000)

  afterAll(async () => {
    await prometheus?.[Symbol.asyncDispose]()
    await used?.[Symbol.asyncDispose]()
    if (full) {
      full.node.kill('SIGKILL')
      await full.node.exited
      await full.disk[Symbol.asyncDispose]()
    }
    await patient?.stop()
  })

  test('evaluates every rule', async () => {
    await eventually(async () => {
      const told = (await prometheus.rules()).groups.flatMap((group) => group.rules)
      expect(told.map(({ name, health, lastError }) => [name, health, lastError])).toEqual(
        rules.map(({ alert }) => [alert, 'ok', undefined]),
      )
      return true
    })
  })

  test('has nothing to tell of a node that is well, but that it has no backup and a certificate for two days', async () => {
    // What the machine beside this test may cause is none of the node's.
    const ofTheMachine = /Slow$|LoopBlocked$|DiskNearlyFull$|NearLimit$/
    await eventually(
      async () => {
        const firing = (await firingAt(targetOf(used.node.console))).filter((name) => !ofTheMachine.test(name))
        expect(firing).toEqual(['PortcullisBackupOld', 'PortcullisCertificateExpiring'])
        return true
      },
      { timeoutMs: 15_000 },
    )
  })

  test('sees a revocation and how long it took, and a try with the token that died', async () => {
    const { id, token } = await used.node.createToken('doomed', ['wiki-of-dana'])
    const stream = await used.call(token, '/s/wiki-of-dana/sse')
    const instance = `instance="${targetOf(used.node.console)}"`
    const count = `portcullis_revocation_duration_seconds_count{phase="last_cut", ${instance}}`
    const valueOf = async (query: string) => Number((await prometheus.query(query))[0]?.value[1])
    const before = await valueOf(count)
    await used.node.revoke({ tokens: [id] })
    await stream.text()
    await used.call(token, '/s/wiki-of-dana/x')
    await eventually(async () => (await valueOf(count)) === before + 1)
    const quantile = await eventually(async () => {
      const seconds = await valueOf(
        `histogram_quantile(0.99, rate(portcullis_revocation_duration_seconds_bucket{phase="last_cut", ${instance}}[1m]))`,
      )
      return seconds > 0 && seconds
    })
    expect(quantile).toBeLessThanOrEqual(1)
    await eventually(async () => (await firingAt(targetOf(used.node.console))).includes('PortcullisDeadTokenTried'))
  })

  test('finds what each panel of the dashboard asks for', async () => {
    const asked = () =>
      Promise.all(
        expressions.map(async ([where, expr]): Promise<[string, number]> => [
          where,
          (await prometheus.query(expr)).length,
        ]),
      )
    // A rate needs two scrapes.
    await eventually(async () => {
      const empty = (await asked()).filter(([, found]) => found === 0).map(([where]) => where)
      // No test failed: that is what this panel is for.
      expect(empty).toEqual(['Failed tests'])
      return true
    })
    await expect(prometheus.query('rate(portcullis_ready[5m')).rejects.toThrow('parse error')
  })

  test('tells each alert in words that can be read', async () => {
    const told = await eventually(async () => {
      const found = (await prometheus.alerts()).filter(({ labels }) =>
        ['127.0.0.1:1', patient.target].includes(labels['instance'] ?? ''),
      )
      return new Set(found.map(({ labels }) => labels['alertname'])).size === rules.length && found
    })
    for (const { labels, annotations } of told) {
      const { summary = '', description = '' } = annotations
      for (const text of [summary, description]) expect(text).not.toMatch(/<|\{|\}|no value|NaN/)
      expect(summary).toContain(labels['instance'] as string)
    }
    const summaryOf = (alert: string) =>
      told.find(({ labels }) => labels['alertname'] === alert)?.annotations['summary']
    expect(summaryOf('PortcullisJournalFillingUp')).toBe(`The journal of Portcullis ${patient.target} is 95.37% full`)
    expect(summaryOf('PortcullisLoopBlocked')).toBe(`Portcullis ${patient.target} stands still for 2.5s now and then`)
    expect(summaryOf('PortcullisDown')).toBe('No metrics come from Portcullis 127.0.0.1:1')
  })

  test('wakes somebody up when the database can’t be written, and rests when it can', async () => {
    if (!full) return
    const { disk, node } = full
    const instance = targetOf(node.console)
    const urgent = ['PortcullisNotReady', 'PortcullisRevocationNotDurable']
    const { id } = await (async () => {
      await node.addServer('any', 'http://127.0.0.1:1')
      return node.createToken('dies', ['any'])
    })()
    const firing = async () => (await firingAt(instance)).filter((name) => urgent.includes(name))
    expect(await firing()).toEqual([])
    disk.fill()
    const { status } = await node.api('POST', '/revocations', { tokens: [id], reason: 'compromised' })
    expect(status).toBe(507)
    await eventually(async () => (await firing()).length === urgent.length, { timeoutMs: 10_000 })
    const waiting = `portcullis_queue_length{queue="journal", instance="${instance}"}`
    expect((await prometheus.query(waiting))[0]?.value[1]).toBe('1')
    disk.free()
    await eventually(async () => !(await firing()).includes('PortcullisNotReady'), { timeoutMs: 15_000 })
    expect((await prometheus.query(waiting))[0]?.value[1]).toBe('0')
  })
})
