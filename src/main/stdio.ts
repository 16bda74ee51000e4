import { type Config, secretFilesOf } from '../config.ts'
import { probing } from '../gate/probe.ts'
import { foundOf, probingCommands } from '../gate/probe-command.ts'
import type { Supervisor, SupervisorDeps } from '../gate/stdio/supervisor.ts'
import { type Bridge, caller } from '../gate/upstream.ts'
import type { Probe } from '../health.ts'
import type { StdioProcesses, StdioStatus } from '../stdio.ts'
import type { Upstream, UpstreamIndex } from '../upstream.ts'

const IDLE: StdioStatus = {
  processes: 0,
  startedInAll: 0,
  crashes: 0,
  lastCrash: null,
  retryAt: null,
  problem: null,
  stderr: [],
}

interface StdioHostDeps extends SupervisorDeps {
  onSessionEnded(server: Upstream, sessionId: string): void
}

/** The processes of servers that are commands, and the bridge to them: loaded with the first of them. */
class StdioHost implements StdioProcesses {
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

export interface StdioServices
  extends Pick<SupervisorDeps, 'registry' | 'limits' | 'now' | 'close' | 'log'>, Pick<StdioHostDeps, 'onSessionEnded'> {
  config: Config
  env: Record<string, string | undefined>
  servers: UpstreamIndex
  /** What became known of one without a look. */
  onTurned(server: Upstream, found: ReturnType<typeof foundOf>): void
}

/** How servers are called and looked at, whether they have a URL or are commands, and the processes of the latter. */
export const createStdio = ({ config, env, servers, limits, onTurned, ...services }: StdioServices) => {
  const { stdioProcessesMax, stdioProcessesPerTokenMax } = config
  const stdio = new StdioHost({
    ...services,
    launch: { dataFolder: config.data, env, secretFiles: secretFilesOf(config) },
    find: (id) => servers.byId.get(id),
    limits: { ...limits, stdioProcessesMax, stdioProcessesPerTokenMax },
    onTurned(server) {
      const known = servers.byId.get(server.id)
      if (known) onTurned(known, foundOf(stdio.statusOf(known)))
    },
  })
  const call = caller(() => stdio.bridge())
  const [ofCommand, ofUrl] = [probingCommands(call, stdio), probing(call)]
  const probe: Probe = (server, before) => (server.stdio ? ofCommand : ofUrl)(server, before)
  return { stdio, call, probe }
}
