import type { Bridge } from '../gate/upstream.ts'
import type { StdioProcesses, StdioStatus } from '../stdio.ts'

const IDLE: StdioStatus = { processes: 0, startedInAll: 0, crashes: 0, lastCrash: null, retryAt: null, stderr: [] }

/** The processes of servers that are commands, and the bridge to them: loaded with the first of them. */
export class StdioHost implements StdioProcesses {
  bridge(): Promise<Bridge> {
    return Promise.reject(new Error('not wired yet'))
  }

  statusOf(): StdioStatus {
    return IDLE
  }

  /** Ends all processes; resolves when none is left. */
  stop(): Promise<void> {
    return Promise.resolve()
  }
}
