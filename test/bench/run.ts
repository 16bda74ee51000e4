import { parseArgs } from 'node:util'
import type { Bench, Check, Report, Size } from './bench.ts'
import { machine } from './machine.ts'
import { checksTable } from './verdict.ts'
import { ROOT, versions } from './versions.ts'

/**
 * `bun run bench [PART]… [--short] [--json FILE]`: figures and ratios beside the targets, and a JSON file. Figures never
 * decide its exit code, only what did not work does. `--short` shows that it works; its figures mean nothing.
 */
const PARTS: Record<string, () => Promise<{ run: Bench }>> = {
  kill: () => import('./kill.ts'),
  http: () => import('./http.ts'),
  mcp: () => import('./mcp.ts'),
  stdio: () => import('./stdio.ts'),
  streams: () => import('./streams.ts'),
  dead: () => import('./dead.ts'),
  million: () => import('./million.ts'),
  busy: () => import('./busy.ts'),
  start: () => import('./start.ts'),
  console: () => import('./console.ts'),
  cluster: () => import('./cluster.ts'),
}

const usage = (): never => {
  console.error(`usage: bun run bench [${Object.keys(PARTS).join('|')}]… [--short] [--json FILE]`)
  process.exit(2)
}

/** Anything else is refused: a whole run takes a quarter of an hour. */
const read = () => {
  const options = { short: { type: 'boolean' }, json: { type: 'string' } } as const
  try {
    return parseArgs({ args: process.argv.slice(2), options, allowPositionals: true })
  } catch {
    return usage()
  }
}
const { values, positionals: named } = read()
const size: Size = values.short ? 'short' : 'full'
const out = values.json ?? `${ROOT}/dist/bench.json`
if (named.some((name) => !Object.hasOwn(PARTS, name)) || out === '') usage()

const notAtAll = (error: unknown): Report => ({
  text: '',
  checks: [],
  data: null,
  failures: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
  missing: [],
})

const json = { at: new Date().toISOString(), size, machine: machine(), versions: versions() }
if (json.machine.contenderCores.join() === json.machine.loadCores.join())
  console.error('ONE CORE: clients and origins share it with what is measured; ratios of rates mean little')

const parts: Record<string, Report & { tookS: number }> = {}
for (const [name, load] of Object.entries(PARTS)) {
  if (named.length > 0 && !named.includes(name)) continue
  console.log(`\n— ${name}\n`)
  const before = performance.now()
  const report = await load()
    .then(({ run }) => run(size))
    .catch(notAtAll)
  console.log(report.text)
  for (const peer of report.missing) console.error(`NOT INSTALLED: ${peer}: its rows are missing`)
  for (const failure of report.failures) console.error(`FAILED  ${name}: ${failure}`)
  parts[name] = { ...report, tookS: Math.round((performance.now() - before) / 1_000) }
  console.log(`\n${parts[name].tookS} s`)
}

const reports = Object.values(parts)
const checks: Check[] = reports.flatMap((report) => report.checks)
const failures = reports.flatMap((report) => report.failures)
const missing = [...new Set(reports.flatMap((report) => report.missing))]
await Bun.write(out, `${JSON.stringify({ ...json, checks, failures, missing, parts }, null, 2)}\n`)
console.log(`\n— all${size === 'short' ? ' (short: these figures mean nothing)' : ''}\n\n${checksTable(checks)}\n`)
console.log(
  `${Object.entries(json.versions)
    .map(([name, version]) => `${name} ${version ?? 'not installed'}`)
    .join(', ')}`,
)
console.log(`written to ${out}`)
for (const peer of missing) console.error(`NOT INSTALLED: ${peer}: its rows are missing`)
if (failures.length > 0) console.error(`${failures.length} did not work`)
process.exit(failures.length === 0 ? 0 : 1)
