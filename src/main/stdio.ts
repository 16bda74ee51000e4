import type { Bridge } from '../gate/upstream.ts'
import type { Supervisor, SupervisorDeps } from '../gate/stdio/supervisor.ts'
import type { StdioProcesses, StdioStatus } from '../stdio.ts'
import type { Upstream } from '../upstream.ts'

const IDLE: StdioStatus = {
  processes: 0,
  startedInAll: 0,
  crashes: 0,
  lastCrash: null,
  retryAt: null,
  problem: null,
  stderr: [],
}

export interface StdioHostDeps extends SupervisorDeps {
  onSessionEnded(server: Upstream, sessionId: string): void
}

/** The processes of servers that are commands, and the bridge to them: loaded with the first of them. */
export class StdioHost implements StdioProcesses {
  #loading: Promise<Bridge> | null = null
  #supervisor: Supervisor | null = null

  constructor(readonly deps: StdioHostDeps) {}

  bridge(): Promise<Bridge> {
    this.#loading ??= this.#load()
    return this.#loading
  }

  statusOf(server: { readonly id: string }): StdioStatus {
    return this.#supervisor?.statusOf(server) ?? IDLE
  }

  /** A look found that it does not work, though it runs. */
  fails(server: Upstream, problem: string): void {
    this.#supervisor?.fails(server, problem)
  }

  /** Ends all processes, those that take longer than `graceMs` by force; resolves when none is left. */
  async stop(graceMs: number): Promise<void> {
    await this.#loading?.catch(() => undefined)
    await this.#supervisor?.stop(graceMs)
  }

  async #load(): Promise<Bridge> {
    const [{ Supervisor }, { StdioBridge }] = await Promise.all([
      import('../gate/stdio/supervisor.ts'),
      import('../gate/stdio/bridge.ts'),
    ])
    const { limits, onSessionEnded } = this.deps
    this.#supervisor = new Supervisor(this.deps)
    return new StdioBridge({ supervisor: this.#supervisor, limits, onSessionEnded })
  }
}
