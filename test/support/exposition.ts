/** One line of `/metrics`. */
export interface Series {
  name: string
  labels: Record<string, string>
  value: number
}

export interface Exposition {
  series: Series[]
  /** By the name of the metric, without the endings of a histogram. */
  types: Map<string, string>
  help: Map<string, string>
}

/** Reads the text format of Prometheus; throws at a line that is none of it. */
export const readExposition = (text: string): Exposition => {
  const series: Series[] = []
  const types = new Map<string, string>()
  const help = new Map<string, string>()
  for (const line of text.split('\n').filter(Boolean)) {
    const [, word, about = '', said = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (word) {
      ;(word === 'HELP' ? help : types).set(about, said)
      continue
    }
    const [, name, , inside = '', value] = /^([a-z_]+)(\{(.*)\})? (\S+)$/.exec(line) ?? []
    if (!name) throw new Error(`not a line of an exposition: ${line}`)
    const labels = Object.fromEntries(
      [...inside.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label = '', of = '']) => [label, of]),
    )
    series.push({ name, labels, value: Number(value === '+Inf' ? Infinity : value) })
  }
  return { series, types, help }
}

/** The metric that a series belongs to. */
export const metricOf = (name: string, types: ReadonlyMap<string, string>): string => {
  const of = name.replace(/_(?:bucket|sum|count)$/, '')
  return types.get(of) === 'histogram' ? of : name
}

/** The figure of one series, by some of its labels; throws where it is not just one. */
export const figure = ({ series }: Exposition, name: string, labels: Record<string, string> = {}): number => {
  const found = series.filter(
    (one) => one.name === name && Object.entries(labels).every(([label, value]) => one.labels[label] === value),
  )
  const [only] = found
  if (!only || found.length > 1) throw new Error(`${found.length} series ${name} ${JSON.stringify(labels)}`)
  return only.value
}
