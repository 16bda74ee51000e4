import type { TestNode } from '../support/node.ts'
import { startFeatures } from '../support/upstreams/features/http.ts'
import { compare } from './compare.ts'
import { FEATURES, tryFeature } from './features.ts'
import { COMMANDS, openRoad, STDIO_ROADS, type StdioRoad } from './stdio-roads.ts'
import { runSuiteDirectly, runSuiteOn, STDIO_LACKS } from './stdio-suites.ts'
import { type Check, SUITES_MS_MAX, type Suite } from './suite.ts'
import type { Door, TalkerName } from './talker.ts'

/** What works of what works directly, when the gate or one of the npm gateways runs the server as a command. */

type Row = { what: string; direct: number } & Partial<Record<StdioRoad, string>>

const passed = (checks: Check[]): number => checks.filter(({ status }) => status === 'SUCCESS').length

const ofSuite = async (suite: Suite, node: TestNode, missed: Missed): Promise<Row> => {
  const direct = await runSuiteDirectly(suite)
  const row: Row = { what: `conformance ${suite.name}`, direct: passed(direct) }
  for (const road of STDIO_ROADS) {
    try {
      const checks = await runSuiteOn(road, suite, node, SUITES_MS_MAX)
      row[road] = String(passed(checks))
      for (const { check, worse, through, message } of compare(direct, checks))
        if (worse) missed.add(road, check, `${through} ${message}`)
    } catch (error) {
      row[road] = 'not to its end'
      missed.add(road, suite.name, String(error))
    }
  }
  return row
}

const ofFeatures = async (over: TalkerName, node: TestNode, missed: Missed): Promise<Row> => {
  const features = FEATURES.find((one) => one.over === over)?.features ?? []
  const era = over.includes('SSE') ? 'sse' : over.includes('2026') ? 'stateless' : 'sessions'
  const tried = async (road: StdioRoad | 'direct', door: Door): Promise<number> => {
    let works = 0
    for (const feature of features) {
      const failure = await tryFeature(feature, over, door)
      if (failure === null) works += 1
      else missed.add(road, `${over}: ${feature.name}`, failure)
    }
    return works
  }
  const served = startFeatures()
  // The SDK has no server any more that speaks HTTP+SSE: all of it is expected.
  const direct = era === 'sse' ? features.length : await tried('direct', { url: `${served.url}/mcp`, headers: {} })
  await served.stop()
  const row: Row = { what: `features by ${over}`, direct }
  for (const road of STDIO_ROADS) {
    const { door, stop } = await openRoad(road, COMMANDS.features, era, node)
    row[road] = String(await tried(road, door))
    await stop()
  }
  return row
}

class Missed {
  readonly rows: { road: string; check: string; how: string }[] = []
  add(road: string, check: string, how: string): void {
    this.rows.push({ road, check, how: how.replaceAll(/\s+/g, ' ').slice(0, 90) })
  }
}

/** Prints it; how many checks are worse through the gate than directly, and not explained. */
export const printStdio = async (node: TestNode, suites: Suite[]): Promise<number> => {
  const missed = new Missed()
  const rows: Row[] = []
  for (const suite of suites) rows.push(await ofSuite(suite, node, missed))
  for (const { over } of FEATURES) rows.push(await ofFeatures(over, node, missed))
  console.log('\nservers that are commands: what works of what works directly')
  console.table(rows)
  console.table(missed.rows)
  for (const [check, reason] of Object.entries(STDIO_LACKS)) console.log(`not by a command: ${check}: ${reason}`)
  return missed.rows.filter(({ road, check }) => road === 'gate' && !(check in STDIO_LACKS)).length
}
