import type { Histogram } from '../../histogram.ts'

export type Labels = Readonly<Record<string, string>>
/** A figure for each set of labels, or one without any; null: there is nothing to tell. */
type Read<T> = T | null | Iterable<readonly [Labels, T]>

/** A metric, read when somebody asks: what is counted is counted once, by whoever does it. */
export type Metric = { name: string; help: string } & (
  | { type: 'counter' | 'gauge'; read(): Read<number> | Promise<Read<number>> }
  | { type: 'histogram'; read(): Read<Histogram> }
)

const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')

const figure = (value: number): string => {
  if (Number.isFinite(value)) return String(value)
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf'
}

const line = (name: string, labels: Labels, value: number): string => {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text).replaceAll('"', '\\"')}"`)
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${figure(value)}\n`
}

/** Its buckets hold all that took at most so long, in seconds. */
const histogram = (name: string, labels: Labels, { boundsMs, counts, sumMs }: Histogram): string => {
  let count = 0
  const buckets = counts.map((own, place) => {
    const boundMs = boundsMs[place]
    count += own
    return line(`${name}_bucket`, { ...labels, le: boundMs === undefined ? '+Inf' : String(boundMs / 1000) }, count)
  })
  return `${buckets.join('')}${line(`${name}_sum`, labels, sumMs / 1000)}${line(`${name}_count`, labels, count)}`
}

const isSeries = <T>(read: T | Iterable<readonly [Labels, T]>): read is Iterable<readonly [Labels, T]> =>
  typeof read === 'object' && read !== null && Symbol.iterator in read

const family = async (metric: Metric): Promise<string> => {
  const { name, help, type } = metric
  let lines = `# HELP ${name} ${escaped(help)}\n# TYPE ${name} ${type}\n`
  try {
    const read = await metric.read()
    if (read === null) return lines
    for (const [labels, value] of isSeries<number | Histogram>(read) ? read : ([[{}, read]] as const))
      lines += typeof value === 'number' ? line(name, labels, value) : histogram(name, labels, value)
    return lines
  } catch {
    // Such as a database that can't be read: that is when the other figures are wanted most.
    return lines
  }
}

/** The text format of Prometheus, version 0.0.4. */
export const exposition = async (metrics: readonly Metric[]): Promise<string> =>
  (await Promise.all(metrics.map(family))).join('')
