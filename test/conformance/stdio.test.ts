import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { startNode, type TestNode } from '../support/node.ts'
import { compare, shortcomings } from './compare.ts'
import { runSuiteOn, runSuiteDirectly, STDIO_LACKS } from './stdio-suites.ts'
import { SUITES } from './suites.ts'

/** The same upstream over HTTP without anybody in front, and as a command behind the gate. */

let node: TestNode
beforeAll(async () => {
  node = await startNode()
})
afterAll(async () => {
  await node?.stop()
})

describe('no check is worse when the gate runs the server, but for what a command can not do', () => {
  test.each(SUITES.map((suite) => [suite.name, suite] as const))('%s', async (_name, suite) => {
    const direct = await runSuiteDirectly(suite)
    expect(shortcomings(suite, direct)).toEqual([])
    const through = await runSuiteOn('gate', suite, node)
    const worse = compare(direct, through).filter((difference) => difference.worse)
    const unexplained = worse.filter(({ check }) => !(check in STDIO_LACKS))
    expect(unexplained).toEqual([])
    // An explanation that explains nothing any more has to go.
    const explained = Object.keys(STDIO_LACKS).filter((check) => worse.some((difference) => difference.check === check))
    expect(explained.length).toBe(worse.length)
  })
})
