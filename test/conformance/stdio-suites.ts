import type { TestNode } from '../support/node.ts'
import { startConformance } from '../support/upstreams/conformance/server.ts'
import { COMMANDS, openRoad, type StdioRoad } from './stdio-roads.ts'
import { type Check, runSuite, type Suite } from './suite.ts'

const NO_STREAM = 'the tool closes the stream of its own answer, and a command has none: what comes is the answer'

/** Checks that a server over HTTP passes and a command can not, and why. */
export const STDIO_LACKS: Record<string, string> = {
  'server-sse-polling server-sse-disconnect-resume': NO_STREAM,
  'server-sse-polling outgoing-request #2': NO_STREAM,
  'server-sse-polling incoming-response #2': NO_STREAM,
  'server-sse-polling incoming-sse-event #3': NO_STREAM,
}

export const runSuiteDirectly = async (suite: Suite): Promise<Check[]> => {
  const upstream = await startConformance()
  try {
    return await runSuite(suite, `${upstream.url}/mcp`)
  } finally {
    await upstream.stop()
  }
}

/** The suite's checks of a command behind whichever gateway. */
export const runSuiteOn = async (
  road: StdioRoad,
  suite: Suite,
  node: TestNode,
  withinMs?: number,
): Promise<Check[]> => {
  const era = suite.name.endsWith('2026-07-28') ? 'stateless' : 'sessions'
  const { door, token, stop } = await openRoad(road, COMMANDS.conformance, era, node)
  try {
    return await runSuite(suite, door.url, token, withinMs)
  } finally {
    await stop()
  }
}
