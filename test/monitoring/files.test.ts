import { beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SELFTEST_STEPS } from '../../src/selftest.ts'
import { type Exposition, metricOf } from '../support/exposition.ts'
import { readPage } from '../support/markdown.ts'
import { hasPrometheus, promtool } from '../support/prometheus.ts'
import { groupedBy, matches, selectorsIn } from '../support/promql.ts'
import { dashboard, expressions } from './dashboard.ts'
import { DOCS, rules } from './rules.ts'
import { startUsedNode } from './used.ts'

/** Given by Prometheus, not by the node. */
const SCRAPED = new Set(['job', 'instance'])
const ALL: [where: string, expr: string][] = [
  ...rules.map(({ alert, expr }): [string, string] => [alert, expr]),
  ...expressions,
]

describe('what alerts and the dashboard name', () => {
  let read: Exposition
  beforeAll(async () => {
    await using used = await startUsedNode()
    ;({ read } = await used.scrape())
  }, 60_000)

  /** What a node that was used does not tell; empty: all is there. */
  const missingIn = (expr: string): string[] =>
    selectorsIn(expr).flatMap((selector) => {
      if (selector.metric === 'up') return []
      const own = read.series.filter(({ name }) => name === selector.metric)
      if (own.length === 0) return [selector.metric]
      const matchers = selector.matchers.filter(({ label }) => !SCRAPED.has(label))
      const labels = [...matchers.map(({ label }) => label)].filter((label) =>
        own.every((series) => !(label in series.labels)),
      )
      if (labels.length > 0) return labels.map((label) => `${selector.metric}{${label}}`)
      return own.some((series) => matches({ ...selector, matchers }, series.labels)) ? [] : [JSON.stringify(selector)]
    })

  test.each(ALL)('%s: %s', (_, expr) => {
    expect(selectorsIn(expr).length).toBeGreaterThan(0)
    expect(missingIn(expr)).toEqual([])
    const labels = new Set(
      selectorsIn(expr).flatMap(({ metric }) =>
        read.series.filter(({ name }) => name === metric).flatMap((series) => Object.keys(series.labels)),
      ),
    )
    expect(groupedBy(expr).filter((label) => !labels.has(label) && !SCRAPED.has(label))).toEqual([])
  })

  test('is read rightly: what is not there is found', () => {
    for (const wrong of [
      'portcullis_read == 0',
      'rate(portcullis_ready_total[5m]) > 0',
      'portcullis_queue_length{queue="jornal"} > 0',
      'portcullis_queue_length{kind="journal"} > 0',
      'portcullis_ready == 0 and portcullis_redy == 0',
      'sum without (durable) (increase(portcullis_revocations_total{durable="no"}[15m])) > 0',
    ])
      expect([wrong, missingIn(wrong)]).not.toEqual([wrong, []])
    expect(selectorsIn('a{b="c", d=~"e|f"} / on (g) h > 5e6 or sum by (i) (rate(j[5m])) unless k{l!="m"}')).toEqual([
      {
        metric: 'a',
        matchers: [
          { label: 'b', op: '=', value: 'c' },
          { label: 'd', op: '=~', value: 'e|f' },
        ],
      },
      { metric: 'h', matchers: [] },
      { metric: 'j', matchers: [] },
      { metric: 'k', matchers: [{ label: 'l', op: '!=', value: 'm' }] },
    ])
  })

  test('is all that a node tells', () => {
    const named = new Set(
      ALL.flatMap(([, expr]) => selectorsIn(expr)).map(({ metric }) => metricOf(metric, read.types)),
    )
    expect([...read.types.keys()].filter((metric) => !named.has(metric))).toEqual([])
  })

  test('lets a ready p99 be told apart from the promise: 40 ms are a bound of their own', () => {
    for (const name of ['portcullis_revocation_duration_seconds_bucket', 'portcullis_probe_duration_seconds_bucket'])
      expect(read.series.some((series) => series.name === name && series.labels['le'] === '0.04')).toBe(true)
  })
})

describe('an alert', () => {
  const page = readPage('docs/monitoring.md')

  test.each(rules.map((rule) => [rule.alert, rule] as const))(
    '%s says what it is, and where to read on',
    (alert, rule) => {
      const { severity } = rule.labels
      expect(['critical', 'warning', 'info']).toContain(severity)
      const { summary, description, runbook } = rule.annotations
      expect([summary, description].every((text) => text.length > 20 && !text.includes('\n'))).toBe(true)
      expect(runbook).toBe(`docs/monitoring.md#${alert.toLowerCase()}`)
      expect(page.headings).toContain(alert)
    },
  )

  test('about the node’s own test tells what each step means', () => {
    const text = readFileSync(join(DOCS, 'monitoring.md'), 'utf8')
    for (const step of Object.keys(SELFTEST_STEPS)) expect(text).toContain(`*${step}*`)
  })

  test('is told in the order of the page', () => {
    const told = page.headings.filter((heading) => heading.startsWith('Portcullis'))
    expect(told).toEqual(rules.map(({ alert }) => alert))
  })
})

describe('the dashboard', () => {
  test('asks for its source when it is imported, and for no other', () => {
    expect(dashboard.__inputs.map(({ name, pluginId }) => [name, pluginId])).toEqual([['DS_PROMETHEUS', 'prometheus']])
    expect(dashboard.id).toBeNull()
    const sources = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]*)"/g)].map(([, uid]) => uid)
    expect(new Set(sources)).toEqual(new Set(['portcullis', '${DS_PROMETHEUS}']))
    const types = new Set(dashboard.panels.map(({ type }) => type))
    const required = dashboard.__requires.filter(({ type }) => type === 'panel').map(({ id }) => id)
    expect(types).toEqual(new Set([...required, 'row']))
  })

  test('has the rows that one looks for, and no panel on another', () => {
    const rows = dashboard.panels.filter(({ type }) => type === 'row').map(({ title }) => title)
    expect(rows).toEqual(['Is it well?', 'Kills', 'Gate', 'Streams', 'Disk', 'Process', 'Cluster', 'Commands'])
    expect(new Set(dashboard.panels.map(({ id }) => id)).size).toBe(dashboard.panels.length)
    const taken = new Set<string>()
    for (const { title, gridPos } of dashboard.panels) {
      expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          expect([title, taken.has(`${x},${y}`)]).toEqual([title, false])
          taken.add(`${x},${y}`)
        }
      }
    }
  })
})

test.if(hasPrometheus())('the example for Prometheus is one', async () => {
  const file = join(DOCS, 'monitoring/prometheus.yml')
  const { code, said } = await promtool(['check', 'config', '--syntax-only', file])
  expect([code, said]).toEqual([0, expect.stringContaining('SUCCESS') as unknown as string])
  expect(readFileSync(file, 'utf8')).not.toMatch(/pca_/)
})
