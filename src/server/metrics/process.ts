import { readdir } from 'node:fs/promises'
import { existsSync, statSync } from 'node:fs'
import type { OperatorSessions } from '../../session.ts'
import type { LoopDelay } from '../../loop-delay.ts'
import type { Version } from '../../version.ts'
import type { Metric } from './exposition.ts'

export interface ProcessSources {
  version: Version
  loop: Pick<LoopDelay, 'delays' | 'maxMs'>
  sessions: Pick<OperatorSessions, 'list'>
  ready(): boolean
  openFilesMax: number
  /** Milliseconds since the epoch; null: without TLS. */
  certificateEndsAt(): number | null
}

const OPEN_FILES = '/proc/self/fd'

/** Linux tells the number since 6.2. Counting them takes no longer than a turn of the loop, since it is done beside it. */
const openFiles = async (): Promise<number | null> => {
  if (!existsSync(OPEN_FILES)) return null
  // The folder itself is open while it is read.
  return statSync(OPEN_FILES).size || (await readdir(OPEN_FILES)).length - 1
}

/** What runs, and how it is. */
export const processMetrics = ({
  version,
  loop,
  sessions,
  ready,
  openFilesMax,
  certificateEndsAt,
}: ProcessSources): Metric[] => {
  const startedAtS = Math.round(Date.now() - process.uptime() * 1000) / 1000
  const gauge = (name: string, help: string, read: () => number | null): Metric => ({ name, help, type: 'gauge', read })
  return [
    {
      name: 'portcullis_build_info',
      help: 'Always 1; the labels tell which portcullis runs',
      type: 'gauge',
      read: () => [[{ version: version.version, commit: version.commit ?? '' }, 1]],
    },
    gauge('portcullis_ready', '1 when the node is ready', () => Number(ready())),
    gauge('portcullis_operator_sessions', 'Browsers that are signed in to the console', () => sessions.list().length),
    gauge(
      'portcullis_certificate_expiry_timestamp_seconds',
      'When the certificate in force ends; only with TLS',
      () => {
        const endsAt = certificateEndsAt()
        return endsAt === null ? null : endsAt / 1000
      },
    ),
    {
      name: 'portcullis_loop_delay_seconds',
      help: 'How late the event loop was, looked at fifty times a second',
      type: 'histogram',
      read: () => loop.delays,
    },
    gauge('portcullis_loop_delay_max_seconds', 'The longest delay of the last minute or two', () => loop.maxMs / 1000),
    {
      name: 'process_cpu_seconds_total',
      help: 'Processor time of the process',
      type: 'counter',
      read: () => {
        const { user, system } = process.cpuUsage()
        return (user + system) / 1e6
      },
    },
    gauge('process_resident_memory_bytes', 'Resident memory of the process', () => process.memoryUsage.rss()),
    { name: 'process_open_fds', help: 'Open files of the process', type: 'gauge', read: openFiles },
    gauge('process_max_fds', 'Files that the process may have open', () => openFilesMax),
    gauge('process_start_time_seconds', 'When the process started', () => startedAtS),
  ]
}
