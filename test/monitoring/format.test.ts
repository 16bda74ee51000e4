import { expect, test } from 'bun:test'
import { Histogram } from '../../src/histogram.ts'
import { exposition, type Metric } from '../../src/server/metrics/exposition.ts'
import { hasPrometheus, promtool } from '../support/prometheus.ts'

const gauge = (name: string, read: Extract<Metric, { type: 'gauge' | 'counter' }>['read']): Metric => ({
  ...{ name, help: 'Help', type: 'gauge', read },
})

const took = new Histogram([0.5, 40])
for (const ms of [0.2, 40, 41]) took.observe(ms)

const METRICS: Metric[] = [
  gauge('portcullis_plain', () => 1.5),
  gauge('portcullis_unknown', () => null),
  gauge('portcullis_none', () => []),
  gauge('portcullis_later', () => Promise.resolve(7)),
  gauge('portcullis_broken', () => {
    throw new Error('the disk is gone')
  }),
  gauge('portcullis_odd', () => [
    [{ said: 'a "quote", a \\ and\na line' }, Infinity],
    [{ said: '', of: 'b' }, NaN],
  ]),
  {
    name: 'portcullis_took_seconds',
    help: 'Back\\slash\nand line',
    type: 'histogram',
    read: () => [[{ of: 'a' }, took]],
  },
]

const TEXT = `# HELP portcullis_plain Help
# TYPE portcullis_plain gauge
portcullis_plain 1.5
# HELP portcullis_unknown Help
# TYPE portcullis_unknown gauge
# HELP portcullis_none Help
# TYPE portcullis_none gauge
# HELP portcullis_later Help
# TYPE portcullis_later gauge
portcullis_later 7
# HELP portcullis_broken Help
# TYPE portcullis_broken gauge
# HELP portcullis_odd Help
# TYPE portcullis_odd gauge
portcullis_odd{said="a \\"quote\\", a \\\\ and\\na line"} +Inf
portcullis_odd{said="",of="b"} NaN
# HELP portcullis_took_seconds Back\\\\slash\\nand line
# TYPE portcullis_took_seconds histogram
portcullis_took_seconds_bucket{of="a",le="0.0005"} 1
portcullis_took_seconds_bucket{of="a",le="0.04"} 2
portcullis_took_seconds_bucket{of="a",le="+Inf"} 3
portcullis_took_seconds_sum{of="a"} 0.08120000000000001
portcullis_took_seconds_count{of="a"} 3
`

test('figures are written as Prometheus reads them, and one that can’t be read takes no other with it', async () => {
  expect(await exposition(METRICS)).toBe(TEXT)
})

test.if(hasPrometheus())('promtool can read it', async () => {
  expect(await promtool(['check', 'metrics'], TEXT)).toEqual({ code: 0, said: '' })
})
