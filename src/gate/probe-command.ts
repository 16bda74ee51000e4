import type { Probe } from '../health.ts'
import { limits } from '../limits.ts'
import type { StdioProcesses, StdioStatus } from '../stdio.ts'
import type { Clock } from '../time.ts'
import { introduce } from './introduce.ts'
import { mcp, unreachable } from './probe.ts'
import { type Call, upstreamHref } from './upstream.ts'

const running = (count: number): string =>
  count === 0 ? 'no process runs' : `${count} ${count === 1 ? 'process runs' : 'processes run'}`

/** How a server is, by its processes. */
export const foundOf = ({ processes, problem, retryAt }: StdioStatus, now: number) => {
  if (problem === null) return { reachable: true, detail: running(processes) }
  const next = retryAt === null ? '' : `; next start in ${Math.ceil((retryAt - now) / 1_000)} s`
  return { reachable: false, detail: problem + next }
}

/** A look at a server that is a command. Only the first starts a process, which introduces itself. */
export const probingCommands =
  (call: Call, stdio: StdioProcesses, now: Clock): Probe =>
  async (server, before) => {
    if (before) return { ...before, ...foundOf(stdio.statusOf(server), now()) }
    const url = new URL(upstreamHref(server, '', '', false))
    try {
      const introduced = await introduce(server, url, limits.stdioStartMs, call)
      return { ...mcp('', url, introduced), detail: 'MCP answers on its standard output' }
    } catch (error) {
      const { problem } = stdio.statusOf(server)
      return { ...unreachable(error), ...(problem !== null && { detail: problem }) }
    }
  }
