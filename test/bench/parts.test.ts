import { beforeAll, expect, test } from 'bun:test'
import { builtBinary } from '../support/binary.ts'
import { shortBench } from './short-bench.ts'

const PARTS = ['kill', 'http', 'mcp', 'stdio', 'streams', 'dead', 'million', 'busy', 'start', 'console', 'cluster']

// A part's own time is no building time.
beforeAll(() => void builtBinary(), 60_000)

test.each(PARTS)(
  '%s works: its tables, its checks and its JSON, whatever the figures are',
  async (part) => {
    const { code, out, err, found } = await shortBench([part])
    expect(err).not.toContain('FAILED')
    expect(code).toBe(0)
    expect(out).toContain('these figures mean nothing')
    expect(Object.keys(found?.parts ?? {})).toEqual([part])
    expect(found?.machine.cpus).toBeGreaterThan(0)
    expect(found?.versions).toHaveProperty('supergateway', '4.0.0')
    expect(found?.checks.length).toBeGreaterThan(0)
    for (const { what, value, target } of found?.checks ?? []) {
      expect([what, typeof value, Number.isFinite(value), target > 0]).toEqual([what, 'number', true, true])
      expect(out).toContain(what)
    }
    for (const peer of found?.missing ?? []) expect(err).toContain(`NOT INSTALLED: ${peer}`)
    if (process.env['CI'])
      expect([found?.missing, Object.values(found?.versions ?? {})]).toEqual([[], expect.not.arrayContaining([null])])
    else if (found?.missing.length) console.log(`SKIPPED LOUDLY: rows of ${found.missing.join(', ')}`)
  },
  60_000,
)
