import { expect, test } from 'bun:test'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { tempFolder } from '../support/temp.ts'
import type { Check } from './bench.ts'
import { figuresOfRun, withFigures } from './page.ts'
import { shortBench } from './short-bench.ts'
import { checksTable, verdictOf } from './verdict.ts'

const check = (value: number, more: Partial<Check> = {}): Check => ({
  ...{ what: 'a kill', value, unit: 'ms', target: 5, side: 'at most', stretch: 2, ...more },
})

test.each([
  [check(5.01), 'MISSED'],
  [check(5), 'reached'],
  [check(2.01), 'reached'],
  [check(2), 'stretch reached'],
  [check(0.1, { stretch: null }), 'reached'],
  [check(Number.NaN), 'MISSED'],
  [check(0.49, { side: 'at least', target: 0.5, stretch: 0.7 }), 'MISSED'],
  [check(0.5, { side: 'at least', target: 0.5, stretch: 0.7 }), 'reached'],
  [check(0.7, { side: 'at least', target: 0.5, stretch: 0.7 }), 'stretch reached'],
])('the verdict of %j is %s', (given, verdict) => {
  expect(verdictOf(given)).toBe(verdict as never)
})

test('the table of checks says what was to be reached, and whether it was', () => {
  const slow = check(0.4, { what: 'requests', unit: '×', side: 'at least', target: 0.5, stretch: null })
  expect(checksTable([check(1.5), slow]).split('\n')).toEqual([
    '           figure     target    stretch          verdict',
    'a kill    1.50 ms  ≤ 5.00 ms  ≤ 2.00 ms  stretch reached',
    'requests   0.40 ×   ≥ 0.50 ×                      MISSED',
  ])
})

test('the page takes the figures of a run between its marks, and keeps the rest', async () => {
  const page = await Bun.file(join(import.meta.dir, '../../docs/speed.md')).text()
  const machine = { cpus: 2, model: 'Some CPU', memoryMiB: 4_096, kernel: '6', contenderCores: [0], loadCores: [1] }
  const run = { at: '2026-11-21T12:00:00Z', size: 'full', machine, versions: { nginx: '1.22.1', wrk: null } }
  const filled = withFigures(page, figuresOfRun({ ...run, checks: [check(1.5), check(7, { stretch: null })] }))
  expect(filled).toContain('| A kill | 1.50 ms | ≤ 5.00 ms | ≤ 2.00 ms | stretch reached |')
  expect(filled).toContain('| A kill | 7.00 ms | ≤ 5.00 ms |  | **missed** |')
  expect(filled).toContain('Versions: nginx 1.22.1.')
  const rest = (text: string) => text.replace(/<!-- of.*<!-- \/of/s, '')
  expect(rest(filled)).toBe(rest(page))
  expect(() => withFigures('no marks', '')).toThrow('lacks its marks')
})

test('a part that is none of its own is bad usage, and nothing is run', async () => {
  const { code, out, err, found } = await shortBench(['kill', 'nonsense'])
  expect(code).toBe(2)
  expect(err).toContain('kill|http|mcp|stdio|streams|dead|million|busy|start|console|cluster')
  expect(out).toBe('')
  expect(found).toBeNull()
})

test('a peer that is not installed has no rows, which is said aloud', async () => {
  const path = tempFolder()
  symlinkSync(Bun.which('taskset') ?? '', join(path, 'taskset'))
  const { code, out, err, found } = await shortBench(['http'], { PATH: path })
  expect(code).toBe(0)
  expect(err).toContain('NOT INSTALLED: caddy: its rows are missing')
  expect(found?.missing).toContain('caddy')
  expect(found?.versions).toMatchObject({ caddy: null, wrk: null })
  expect(out).not.toContain('Caddy')
  expect(found?.checks.some(({ what }) => what.includes('Caddy'))).toBe(false)
  // Our own client takes the place of wrk.
  expect(out).toContain('for want of wrk')
  expect(out).toMatch(/^gate +\d+ /m)
})

test('what does not work is said, and the exit code is 1', async () => {
  // No part can work without a folder.
  const { code, out, err } = await shortBench(['start'], { TMPDIR: '/nowhere' })
  expect(code).toBe(1)
  expect(err).toMatch(/FAILED {2}start: .*ENOENT/)
  expect(err).toContain('1 did not work')
  expect(out).toContain('— all')
})
