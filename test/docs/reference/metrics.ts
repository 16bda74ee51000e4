import { REFUSALS } from '../../../src/cluster-measures.ts'
import { code, page, sentence, table } from './markdown.ts'

interface Metric {
  name: string
  type: string
  help: string
  labels: Set<string>
}

/** Out of the text format of Prometheus, by its `# HELP` and `# TYPE`. */
export const metricsIn = (exposition: string): Metric[] => {
  const metrics: Metric[] = []
  for (const line of exposition.split('\n')) {
    const [, name, help] = /^# HELP (\S+) (.*)$/.exec(line) ?? []
    if (name && help) metrics.push({ name, type: '', help, labels: new Set() })
    const metric = metrics.at(-1)
    if (!metric) continue
    const [, type] = /^# TYPE \S+ (\w+)$/.exec(line) ?? []
    if (type) metric.type = type
    const [, labels] = /^\w+\{(.*)\} /.exec(line) ?? []
    for (const [, label = ''] of labels?.matchAll(/(\w+)="/g) ?? []) if (label !== 'le') metric.labels.add(label)
  }
  return metrics
}

const LABELS: [name: string, what: string][] = [
  ['version', 'Which portcullis runs, such as `0.7.0`.'],
  ['commit', 'What it was built from; empty when it runs from the sources.'],
  [
    'reason',
    'Why the gate refused: a type of the [errors of the gate](errors.md#of-the-gate). Of frames and links of other nodes: ' +
      `${REFUSALS.map(code).join(', ')}.`,
  ],
  ['cause', 'What cut it: a type of [the end of a stream](errors.md#the-end-of-a-stream).'],
  ['node', 'The id of another member of the cluster.'],
  ['stream', '`revocation`: what kills, which overtakes the rest. `change`: all else.'],
  ['server', 'The id of the server; names are for those who sign in.'],
  [
    'durable',
    '`true`: the revocation was on disk when it was answered. `false`: it was in force, and waited in the journal.',
  ],
  [
    'phase',
    'A phase of a revocation, as on its receipt: `commit`, `deny`, `first_cut`, `last_cut`, `upstream_cancelled`; of a test ' +
      'also `end_seen`.',
  ],
  ['step', 'What failed first in a test of a revocation.'],
  ['kind', 'Of a connection: `sse`, `stream`, `request`, `session`, `process`.'],
  [
    'queue',
    '`journal`: what the database refused. `upstream_releases`: requests to servers to be cancelled after a cut. `receipts` and ' +
      '`receipt_connections`: receipts, and what died with them. `audit_fold`: rows about strangers, written once a minute. ' +
      '`password_hashes`, `verifications`: what is under way.',
  ],
]

export const metrics = (exposition: string): string => {
  const all = metricsIn(exposition)
  const labels = new Set(all.flatMap((metric) => [...metric.labels]))
  const untold = [...labels].filter((label) => LABELS.every(([name]) => name !== label))
  if (untold.length > 0) throw new Error(`say what these labels are: ${untold.join(', ')}`)
  const rows = all.map(({ name, type, help, labels: own }) => [
    code(name),
    type,
    [...own].map(code).join(', '),
    sentence(help),
  ])
  return page(
    'Metrics',
    '`GET /metrics` on the console, in the text format of Prometheus: for this machine itself, or with an API key as\n' +
      '`Authorization: Bearer pca_…`. Behind a proxy, and from outside of a container, it needs the key.',
    table(['metric', 'type', 'labels', 'what it is'], rows),
    table(
      ['label', 'values'],
      LABELS.map(([name, what]) => [code(name), what]),
    ),
    'Buckets have a label `le`, in seconds. Rules for alerts, a dashboard, and what to do when one fires:\n' +
      '[Monitoring](../monitoring.md).',
    'Without credentials: `/healthz` is 200 while the process runs (on the gate too), `/readyz` is 200 when it is ready and else 503\n' +
      'with the reasons.',
  )
}
