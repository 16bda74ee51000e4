import { AppError } from '../error.ts'
import type { Probe } from '../health.ts'
import { limits } from '../limits.ts'
import type { StdioProcesses, StdioStatus } from '../stdio.ts'
import type { Upstream } from '../upstream.ts'
import { introduce } from './introduce.ts'
import { mcp, unreachable } from './probe.ts'
import { type Call, upstreamHref } from './upstream.ts'

const running = (count: number): string =>
  count === 0 ? 'no process runs' : `${count} ${count === 1 ? 'process runs' : 'processes run'}`

/** How a server is, by its processes. When the next may start is told of its status alone: this is kept for a while. */
export const foundOf = ({ processes, problem }: StdioStatus) => ({
  reachable: problem === null,
  detail: problem ?? running(processes),
})

export interface LookedAfter extends StdioProcesses {
  /** It runs, and does not work. */
  fails(server: Upstream, problem: string): void
}

/** What is the server's own fault, and known to nobody but who asked. */
const FAULTS = new Set(['upstream-timeout', 'server-start-timeout', 'no-mcp'])
const FAULT = 'its process runs, and does not answer as an MCP server'

/** A look at a server that is a command. It starts a process only until one has introduced itself, or something is wrong. */
export const probingCommands =
  (call: Call, stdio: LookedAfter): Probe =>
  async (server, before) => {
    const status = stdio.statusOf(server)
    if (before && (before.mcp || status.problem !== null)) return { ...before, ...foundOf(status) }
    const url = new URL(upstreamHref(server, '', '', false))
    try {
      const introduced = await introduce(server, url, limits.stdioStartMs, call)
      return { ...mcp('', url, introduced), detail: 'MCP answers on its standard output' }
    } catch (error) {
      if (error instanceof AppError && FAULTS.has(error.slug)) stdio.fails(server, FAULT)
      const found = unreachable(error)
      return { ...found, detail: stdio.statusOf(server).problem ?? found.detail }
    }
  }
