import type { Bench, Report } from './bench.ts'
import { mcpCalls } from './mcp-calls.ts'
import { mcpCuts } from './mcp-cuts.ts'
import { joined } from './joined.ts'
import { refusals } from './refusals.ts'

/** Calls on their way through, calls that are cut, and what refusing costs. */
export const run: Bench = async (size): Promise<Report> =>
  joined({ calls: await mcpCalls(size), cuts: await mcpCuts(size), refusals: await refusals(size) })
