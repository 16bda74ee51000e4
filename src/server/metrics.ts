import { Counter, Gauge, Histogram, Registry as Metrics } from 'prom-client'
import type { Health } from '../health.ts'
import type { Registry } from '../registry.ts'
import type { Upstream, UpstreamIndex } from '../upstream.ts'
import type { Version } from '../version.ts'

/** What the metrics are read from. */
export interface MetricsSources {
  registry: Registry
  servers: UpstreamIndex
  health: Health
  gate: { requests: number; refusals: ReadonlyMap<string, number>; deadTries: number }
  version: Version
  auditSequence(): number
  ready(): boolean
}

const LOOP_TICK_MS = 100

/** Prometheus text of a node. `stop` ends the measuring of the loop's delay. */
export const createMetrics = (sources: MetricsSources) => {
  const metrics = new Metrics()
  const registers = [metrics]
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  const counter = (name: string, help: string, read: () => number) => {
    let last = 0
    return new Counter({
      name,
      help,
      registers,
      collect() {
        const now = read()
        this.inc(now - last)
        last = now
      },
    })
  }
  const labelled = (name: string, help: string, label: string, read: () => Iterable<[string, number]>) => {
    const last = new Map<string, number>()
    return new Counter({
      name,
      help,
      registers,
      labelNames: [label],
      collect() {
        for (const [value, count] of read()) {
          this.inc({ [label]: value }, count - (last.get(value) ?? 0))
          last.set(value, count)
        }
      },
    })
  }
  /** By id, since names are for those who sign in. Set anew each time: a server may have gone. Null: nothing to tell. */
  const byServer = (
    Metric: typeof Counter | typeof Gauge,
    name: string,
    help: string,
    read: (server: Upstream) => number | null,
  ) =>
    new Metric({
      name,
      help,
      registers,
      labelNames: ['server'],
      collect() {
        this.reset()
        for (const server of servers.byName.values()) {
          const value = read(server)
          if (value !== null) this.inc({ server: server.id }, value)
        }
      },
    })
  const { registry, gate, servers, health } = sources
  const { version, commit } = sources.version
  new Gauge({
    name: 'portcullis_build_info',
    help: 'Always 1; the labels tell which portcullis runs',
    registers,
    labelNames: ['version', 'commit'],
  }).set({ version, commit: commit ?? '' }, 1)
  gauge('portcullis_ready', '1 when the node is ready', () => (sources.ready() ? 1 : 0))
  gauge('portcullis_connections', 'Live connections, sessions included', () => registry.size)
  gauge('portcullis_audit_rows', 'Sequence of the last row of the audit log', sources.auditSequence)
  gauge('portcullis_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss())
  counter('portcullis_requests_total', 'Requests at the gate', () => gate.requests)
  labelled('portcullis_refusals_total', 'Refusals of the gate by reason', 'reason', () => gate.refusals)
  counter('portcullis_dead_token_tries_total', 'Requests with dead tokens', () => gate.deadTries)
  labelled('portcullis_cuts_total', 'Connections cut by cause', 'cause', () => Object.entries(registry.cuts))
  byServer(Gauge, 'portcullis_server_up', '1 when the last look reached the server', (server) => {
    const { last } = health.of(server)
    return last && Number(last.reachable)
  })
  byServer(
    Gauge,
    'portcullis_server_tools',
    'Tools that the server listed at the last look',
    (server) => health.of(server).last?.mcp?.tools ?? null,
  )
  byServer(
    Counter,
    'portcullis_server_requests_total',
    'Requests that servers were to answer',
    (server) => health.of(server).total.requests,
  )
  byServer(
    Counter,
    'portcullis_server_errors_total',
    'Of those, failures of the server: unreachable, broken off, credentials refused, 500 or above',
    (server) => health.of(server).total.errors,
  )
  const delay = new Histogram({
    name: 'portcullis_loop_delay_seconds',
    help: 'How late a timer of 100 ms was',
    registers,
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1],
  })
  let before = performance.now()
  const timer = setInterval(() => {
    const now = performance.now()
    delay.observe(Math.max(0, now - before - LOOP_TICK_MS) / 1000)
    before = now
  }, LOOP_TICK_MS)
  return { text: () => metrics.metrics(), stop: () => clearInterval(timer) }
}
