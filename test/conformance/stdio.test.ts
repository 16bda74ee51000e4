import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { startNode, type TestNode } from '../support/node.ts'
import { compare, shortcomings } from './compare.ts'
import { runSuiteDirectly, runSuiteOn, STDIO_LACKS } from './stdio-suites.ts'
import { SUITES } from './suites.ts'

/** Every scenario starts a process of the server, which on a busy machine takes its time. */
const TEST_MS = 150_000
const WITHIN_MS = 100_000

let node: TestNode
beforeAll(async () => {
  node = await startNode()
})
afterAll(async () => {
  await node?.stop()
})

/** The same upstream over HTTP without anybody in front, and as a command behind the gate. */
describe('no check is worse when the gate runs the server, but for what a command can not do', () => {
  test.each(SUITES.map((suite) => [suite.name, suite] as const))(
    '%s',
    async (_name, suite) => {
      const direct = await runSuiteDirectly(suite)
      expect(shortcomings(suite, direct)).toEqual([])
      const worse = compare(direct, await runSuiteOn('gate', suite, node, WITHIN_MS)).filter((it) => it.worse)
      expect(worse.filter(({ check }) => !(check in STDIO_LACKS))).toEqual([])
    },
    TEST_MS,
  )
})
