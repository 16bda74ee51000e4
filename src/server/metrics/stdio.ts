import type { StdioProcesses, StdioStatus } from '../../stdio.ts'
import type { UpstreamIndex } from '../../upstream.ts'
import type { Labels, Metric } from './exposition.ts'

export interface StdioSources {
  servers: UpstreamIndex
  stdio: StdioProcesses
}

/** The processes of servers that are commands. */
export const stdio = ({ servers, stdio: processes }: StdioSources): Metric[] => {
  /** By id, since names are for those who sign in. */
  const byServer = (read: (status: StdioStatus) => number): [Labels, number][] =>
    servers
      .live()
      .filter((server) => server.stdio)
      .map((server) => [{ server: server.id }, read(processes.statusOf(server))])
  return [
    {
      name: 'portcullis_stdio_processes',
      help: 'Processes of a server that is a command',
      type: 'gauge',
      read: () => byServer((status) => status.processes),
    },
    {
      name: 'portcullis_stdio_starts_total',
      help: 'Processes that were started for it',
      type: 'counter',
      read: () => byServer((status) => status.startedInAll),
    },
    {
      name: 'portcullis_stdio_crashes_total',
      help: 'Processes of it that ended though nobody asked them to',
      type: 'counter',
      read: () => byServer((status) => status.crashes),
    },
  ]
}
