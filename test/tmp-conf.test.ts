import { test } from 'bun:test'
import { startNode } from './support/node.ts'
import { SUITES } from './conformance/suites.ts'
import { runSuiteDirectly, runSuiteOn } from './conformance/stdio-suites.ts'
import { compare } from './conformance/compare.ts'
test('conf', async () => {
  await using node = await startNode()
  const suite = SUITES.find(({ name }) => name.endsWith('2026-07-28'))!
  const direct = await runSuiteDirectly(suite)
  for (const road of ['gate', 'gate, shared'] as const) {
    const through = await runSuiteOn(road, suite, node)
    console.log(road, direct.filter((c) => c.status === 'SUCCESS').length, through.filter((c) => c.status === 'SUCCESS').length)
    console.log(JSON.stringify(compare(direct, through).filter((d: any) => d.worse), null, 1).slice(0, 3000))
  }
}, 300000)
