import type { Check } from './bench.ts'
import type { machine } from './machine.ts'
import { boundOf, figureOf, verdictOf } from './verdict.ts'
import { ROOT } from './versions.ts'

/** `bun test/bench/page.ts [FILE]`: puts the figures of a whole run (dist/bench.json) into docs/speed.md. */
const PAGE = `${ROOT}/docs/speed.md`
/** What lies between is the run's; the rest is written by hand. */
const MARKS = ['<!-- of bun run bench -->', '<!-- /of bun run bench -->'] as const

export interface Run {
  at: string
  size: string
  machine: ReturnType<typeof machine>
  versions: Record<string, string | null>
  checks: Check[]
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

export const figuresOfRun = ({ at, machine: { cpus, model, memoryMiB }, versions, checks }: Run): string => {
  const installed = Object.entries(versions).flatMap(([name, version]) =>
    version === null ? [] : `${name} ${version}`,
  )
  const rows = checks.map((check) =>
    [
      capital(check.what),
      figureOf(check.value, check.unit),
      boundOf(check, check.target),
      boundOf(check, check.stretch),
      verdictOf(check).replace('MISSED', '**missed**'),
    ].join(' | '),
  )
  return `Run on ${at.slice(0, 10)}, on ${cpus} × ${model} with ${Math.round(memoryMiB / 1_024)} GiB, all on one machine.

| | figure | to reach | stretch | |
|---|---|---|---|---|
${rows.map((row) => `| ${row} |`).join('\n')}

Versions: ${installed.join(', ')}.`
}

export const withFigures = (page: string, figures: string): string => {
  const [begin, end] = MARKS.map((mark) => page.indexOf(mark))
  if (begin === undefined || end === undefined || begin < 0 || end < begin) throw new Error(`${PAGE} lacks its marks`)
  return `${page.slice(0, begin + MARKS[0].length)}\n\n${figures}\n\n${page.slice(end)}`
}

if (import.meta.main) {
  const run = (await Bun.file(process.argv[2] ?? `${ROOT}/dist/bench.json`).json()) as Run
  if (run.size !== 'full') throw new Error('the figures of a short run mean nothing')
  await Bun.write(PAGE, withFigures(await Bun.file(PAGE).text(), figuresOfRun(run)))
}
