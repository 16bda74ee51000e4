import { startNode } from '../support/node.ts'
import { compare, shortcomings } from './compare.ts'
import { ROADS, runRoads, THROUGH } from './roads.ts'
import { printStdio } from './stdio-table.ts'
import { SUITES } from './suites.ts'

/**
 * All suites, directly and through the gate: prints every difference, and exits 1 when one is for the worse. `http` or
 * `stdio` as the only argument: servers that have a URL alone, or those that are commands.
 */

const [kind = 'http and stdio'] = process.argv.slice(2)
await using node = await startNode()
let worse = 0
for (const suite of kind.includes('http') ? SUITES : []) {
  const runs = await runRoads(suite, node)
  const wrong = shortcomings(suite, runs.direct)
  const differences = THROUGH.flatMap((road) =>
    compare(runs.direct, runs[road]).map(({ message, ...rest }) => ({ road, ...rest, message: message.slice(0, 100) })),
  )
  worse += wrong.length + differences.filter((difference) => difference.worse).length

  console.log(`\n${suite.name}`)
  const counted = ROADS.map((road) => {
    const passed = runs[road].filter(({ status }) => status === 'SUCCESS').length
    return {
      road,
      checks: runs[road].length,
      passed,
      worse: differences.filter((it) => it.road === road && it.worse).length,
    }
  })
  console.table(counted)
  if (differences.length > 0) console.table(differences)
  for (const [check, reason] of Object.entries(suite.excused)) console.log(`not passed directly: ${check}: ${reason}`)
  for (const shortcoming of wrong) console.log(`the direct run is no measure: ${shortcoming}`)
}
if (kind.includes('stdio')) worse += await printStdio(node, SUITES)
console.log(worse === 0 ? '\nno check is worse through the gate' : `\n${worse} checks are worse through the gate`)
process.exitCode = worse === 0 ? 0 : 1
