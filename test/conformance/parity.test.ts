import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type TestNode, startNode } from '../support/node.ts'
import { compare, shortcomings } from './compare.ts'
import { runRoads, THROUGH } from './roads.ts'
import { type Check, runSuite, type Status } from './suite.ts'
import { SUITES } from './suites.ts'

let node: TestNode
beforeAll(async () => {
  node = await startNode()
})
afterAll(async () => {
  await node?.stop()
})

describe('no check is worse through the gate than directly', () => {
  test.each(SUITES.map((suite) => [suite.name, suite] as const))('%s', async (_name, suite) => {
    const runs = await runRoads(suite, node)
    expect(shortcomings(suite, runs.direct)).toEqual([])
    for (const road of THROUGH) {
      const worse = compare(runs.direct, runs[road]).filter((difference) => difference.worse)
      expect({ road, worse }).toEqual({ road, worse: [] })
    }
  })
})

describe('the comparison can fail', () => {
  const suite = SUITES[1]
  if (!suite) throw new Error('there is no second suite')

  test('by a port where nobody listens, though it passes checks', async () => {
    const dead = await runSuite(suite, 'http://127.0.0.1:1/mcp')
    const passed = dead.filter(({ status }) => status === 'SUCCESS')
    expect(passed.length).toBeGreaterThan(0)
    expect(shortcomings(suite, dead)).not.toEqual([])
    const alive = dead.map((check) => ({ ...check, status: 'SUCCESS' as const }))
    expect(compare(alive, dead).filter(({ worse }) => worse).length).toBe(dead.length - passed.length)
  })

  test('by a token that is not shown: what is left are checks of refusals, and of nothing said', async () => {
    await node.addServer('unreached', 'http://127.0.0.1:1')
    const refused = await runSuite(suite, `${node.gate}/s/unreached/mcp`)
    const passed = refused.filter(({ status }) => status === 'SUCCESS').map(({ id }) => id)
    expect([...new Set(passed)].toSorted()).toEqual(['localhost-host-rebinding-rejected', 'wire-schema-valid'])
    expect(shortcomings(suite, refused)).not.toEqual([])
  })

  test.each<[Status[], Status[], boolean]>([
    [['SUCCESS'], ['SUCCESS'], false],
    [['SUCCESS'], ['FAILURE'], true],
    [['SUCCESS'], ['WARNING'], true],
    [['SUCCESS'], ['SKIPPED'], true],
    [['SUCCESS'], [], true],
    [['INFO'], ['WARNING'], true],
    [['INFO'], [], true],
    [['SKIPPED'], ['FAILURE'], true],
    [['SUCCESS', 'SUCCESS'], ['SUCCESS', 'FAILURE'], true],
    [['SUCCESS', 'SUCCESS'], ['SUCCESS'], true],
    [[], ['FAILURE'], true],
    [['WARNING'], ['SUCCESS'], false],
    [['FAILURE'], ['WARNING'], false],
    [['FAILURE'], [], false],
    [[], ['SUCCESS'], false],
  ])('%p directly and %p through the gate', (direct, through, worse) => {
    const checks = (statuses: Status[]): Check[] =>
      statuses.map((status) => ({ scenario: 'ping', id: 'ping', status, message: '' }))
    expect(compare(checks(direct), checks(through)).some((difference) => difference.worse)).toBe(worse)
  })

  test('by a scenario that did not run, and by a check that our upstream should pass', () => {
    const direct: Check[] = [
      { scenario: 'ping', id: 'ping', status: 'WARNING', message: 'slow' },
      { scenario: 'ping', id: 'excused', status: 'WARNING', message: '' },
    ]
    const two = { ...suite, scenarios: 2, successes: 1, excused: { 'ping excused': 'for a reason' } }
    expect(shortcomings(two, direct)).toEqual([
      '1 scenarios ran, not 2',
      '0 checks passed directly, not 1',
      'ping ping is WARNING directly: slow',
    ])
  })
})
