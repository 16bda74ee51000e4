import type { Limits } from '../../limits.ts'
import type { Registry } from '../../registry.ts'
import { crashLoop, type StdioProcesses, type StdioSpec, type StdioStatus } from '../../stdio.ts'
import type { Clock } from '../../time.ts'
import { denialOf } from '../../token.ts'
import type { Upstream } from '../../upstream.ts'
import { problemOf, problemOfCut, problems, ProblemError } from '../problem.ts'
import type { Caller } from '../upstream.ts'
import { Crashes } from './crashes.ts'
import { type LaunchDeps, launchOf } from './launch.ts'
import { Places } from './places.ts'
import { type Process, type ProcessEnd, spawnProcess } from './process.ts'
import { Reaper } from './reaper.ts'
import { ProcessConnection, Running } from './running.ts'
import { StderrLog } from './stderr.ts'

/** A process for who asked for it. */
export interface Lease {
  readonly process: Process
  /** It was told to end, or cut: whoever comes next needs another. */
  readonly ending: boolean
  /** While true its end is no crash: it is asked what it may not know. */
  trial: boolean
  /** In use: neither idle nor evicted until what is returned was called. */
  use(): () => void
  /** Who uses it now: the same token, maybe with a newer secret. */
  touch(caller: Caller): void
  stop(): void
}

export interface SupervisorDeps {
  launch: LaunchDeps
  /** The server of that id as it is now; it may have been changed, closed or removed meanwhile. */
  find(id: string): Upstream | undefined
  registry: Registry
  limits: Limits
  now: Clock
  /** Its processes crash again and again. */
  close(server: Upstream, reason: string): void
  /** One crashed, or could not be started, or one works again. */
  onTurned(server: Upstream): void
  log: Record<'info' | 'warn', (details: Record<string, unknown>, message: string) => void>
}

/** What is known of one server. */
interface Kept {
  spec: StdioSpec
  readonly crashes: Crashes
  readonly stderr: StderrLog
  /** Those included that end. */
  processes: number
  startedInAll: number
  lastCrash: StdioStatus['lastCrash']
  problem: string | null
  /** It was closed for its crashes. */
  tripped: boolean
  /** By the stopwatch: what is no server, or none any more, is forgotten a while later. */
  usedAt: number
}

const stopwatch = () => performance.now()

const NOT_STARTABLE = 'The server can not be started; whoever runs this gate finds the reason in its console.'

/** The processes of all servers that are commands, under the node's limits. */
export class Supervisor implements StdioProcesses {
  readonly #kept = new Map<string, Kept>()
  readonly #all: Places
  readonly #reaper = new Reaper()
  #timer: NodeJS.Timeout | undefined
  /** When the next may be started. */
  #turn: Promise<unknown> = Promise.resolve()
  #stopped = false

  constructor(readonly deps: SupervisorDeps) {
    this.#all = new Places(deps.limits)
  }

  /**
   * A process of its own for a caller. Null: a look, or one for all. Throws `ProblemError`, also when what asked was cut
   * meanwhile. Until `use` was called it is idle.
   */
  async start(server: Upstream, caller: Caller | null, path: string): Promise<Lease> {
    // A look holds a copy, which may be old by now.
    const current = this.deps.find(server.id) ?? server
    const kept = this.#of(current)
    this.#refuse(current, kept)
    const running = new Running(current, kept.spec, caller?.secret.token.id ?? null, this.deps.registry)
    await this.#all.take(running)
    try {
      if (caller) this.#register(running, caller, path)
      // Asked again, since a place may have been waited for.
      this.#refuse(current, kept)
      return leaseOf(running, await this.#spawn(running, kept))
    } catch (error) {
      if (!running.process) this.#leave(running)
      throw error
    }
  }

  statusOf({ id }: { readonly id: string }): StdioStatus {
    const kept = this.#kept.get(id)
    const server = this.deps.find(id)
    if (kept && server?.stdio) this.#follow(server, kept, server.stdio)
    const retryAt = kept?.crashes.retryAt(stopwatch()) ?? null
    return {
      processes: kept?.processes ?? 0,
      startedInAll: kept?.startedInAll ?? 0,
      crashes: kept?.crashes.count ?? 0,
      lastCrash: kept?.lastCrash ?? null,
      retryAt: retryAt === null ? null : this.deps.now() + Math.ceil(retryAt - stopwatch()),
      problem: kept?.problem ?? null,
      // Read by few who ask for the rest.
      get stderr() {
        return kept?.stderr.tail ?? []
      },
    }
  }

  /** Whoever asked it found that it does not work, though it runs. */
  fails(server: Upstream, problem: string): void {
    const kept = this.#kept.get(server.id)
    if (kept && kept.problem === null) this.#tell(server, kept, problem)
  }

  /** Ends all, those that take longer than `graceMs` by force; resolves when none is left. Nothing is started any more. */
  async stop(graceMs: number): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    const left = [...this.#all]
    for (const running of left) running.stop()
    const force = setTimeout(() => {
      for (const { process } of left) process?.kill()
    }, graceMs)
    await Promise.all(left.map(({ process }) => process?.ended))
    clearTimeout(force)
    this.#reaper.stop()
  }

  #of(server: Upstream): Kept {
    const { stdio } = server
    if (!stdio) throw new Error(`${server.name} is no command`)
    let kept = this.#kept.get(server.id)
    if (!kept) this.#kept.set(server.id, (kept = this.#keep(server, stdio)))
    kept.usedAt = stopwatch()
    this.#follow(server, kept, stdio)
    return kept
  }

  #keep(server: Upstream, spec: StdioSpec): Kept {
    const { limits, log, now, find } = this.deps
    for (const [id, { usedAt }] of this.#kept)
      if (find(id)?.removedAt !== null && stopwatch() - usedAt > limits.stdioForgetMs) this.#kept.delete(id)
    const write = (line: string, pid: number) => log.info({ server: server.name, pid }, line)
    const stderr = new StderrLog({ limits, now, stopwatch, write })
    stderr.hide(spec.env)
    const counts = {
      processes: 0,
      startedInAll: 0,
      lastCrash: null,
      problem: null,
      tripped: false,
      usedAt: stopwatch(),
    }
    return { spec, stderr, crashes: new Crashes(limits), ...counts }
  }

  /** What was done to the server since, here or on another node. */
  #follow(server: Upstream, kept: Kept, spec: StdioSpec): void {
    const changed = kept.spec !== spec
    if (changed) {
      kept.spec = spec
      kept.stderr.hide(spec.env)
    }
    if (!changed && !(kept.tripped && server.state === 'open')) return
    kept.tripped = false
    kept.crashes.forget()
    if (kept.problem !== null) this.#tell(server, kept, null)
  }

  #refuse(server: Upstream, kept: Kept): void {
    if (this.#stopped) throw new ProblemError(problemOfCut('server_closed'))
    if (server.removedAt !== null) throw new ProblemError(problemOf('server_unknown'))
    if (server.state === 'closed') throw new ProblemError(problemOf('server_closed'))
    const retryAt = kept.crashes.retryAt(stopwatch())
    if (retryAt === null) return
    const retryAfterS = Math.max(1, Math.ceil((retryAt - stopwatch()) / 1_000))
    const detail = `The server's process ended by itself (${kept.lastCrash?.detail ?? 'unknown'}); it is started again in ${retryAfterS} s at the earliest.`
    throw new ProblemError({ ...problems.serverBackoff, detail, retryAfterS })
  }

  /** Registered, then checked: who revokes finds it in the registry, or it does not start. */
  #register(running: Running, caller: Caller, path: string): void {
    const { registry, now } = this.deps
    const connection = new ProcessConnection(registry.nextNumber(), running.server, caller, path, now(), running)
    running.connection = connection
    registry.add(connection)
    const denial = denialOf(caller.secret, running.server, now(), null)
    if (denial) throw new ProblemError(problemOf(denial))
  }

  async #spawn(running: Running, kept: Kept): Promise<Process> {
    const { launch: deps, limits } = this.deps
    const { server, spec } = running
    let process: Process
    try {
      const launch = await launchOf({ ...server, stdio: spec }, deps)
      await this.#nextTurn()
      // Cut while it was made ready, or the node stops.
      if (running.ending) throw new ProblemError(problemOfCut(running.cause ?? 'connection_killed'))
      process = spawnProcess(launch, this.#reaper, limits, {
        stderr: (line) => kept.stderr.line(line, process.pid),
        heard: () => this.#works(running, kept),
      })
    } catch (error) {
      if (!(error instanceof ProblemError) || running.ending) throw error
      const { detail } = error.problem
      if (kept.problem !== detail) this.deps.log.warn({ server: server.name }, `a server can't be started: ${detail}`)
      this.#tell(server, kept, detail)
      // What stands on this machine is nothing for clients.
      throw new ProblemError({ ...error.problem, detail: NOT_STARTABLE })
    }
    running.process = process
    kept.processes += 1
    kept.startedInAll += 1
    this.#timer ??= setInterval(() => this.#tick(), limits.stdioTickMs)
    void process.ended.then((end) => this.#ended(running, kept, end))
    return process
  }

  /** Each takes the loop milliseconds, so that many at once would hold up a cut. */
  #nextTurn(): Promise<unknown> {
    const turn = this.#turn
    this.#turn = turn.then(() => new Promise((resolve) => setImmediate(resolve)))
    return turn
  }

  #works(running: Running, kept: Kept): void {
    running.heard = true
    // One of before a change says nothing about what runs since.
    if (kept.spec === running.spec && kept.problem !== null) this.#tell(running.server, kept, null)
  }

  #tell(server: Upstream, kept: Kept, problem: string | null): void {
    kept.problem = problem
    this.deps.onTurned(server)
  }

  #leave(running: Running): void {
    this.#all.free(running)
    if (running.connection) this.deps.registry.remove(running.connection)
  }

  #ended(running: Running, kept: Kept, { crashed, detail }: ProcessEnd): void {
    const wasEnding = running.ending
    running.ending = true
    kept.processes -= 1
    this.#leave(running)
    const { server, startedAt } = running
    const { limits, log, now, find, close } = this.deps
    const endedAt = stopwatch()
    const lifeMs = endedAt - (startedAt ?? endedAt)
    if (!running.heard && running.cause === null && lifeMs >= limits.stdioStartMs * 0.9)
      this.fails(server, problems.serverStartTimeout.detail)
    if (!crashed || wasEnding || running.trial || kept.spec !== running.spec) return
    const othersLive = [...this.#all].some((other) => other.spec === running.spec && livesLong(other, endedAt, limits))
    const isLoop = kept.crashes.add({ startedAt: startedAt ?? endedAt, endedAt, othersLive })
    kept.lastCrash = { at: now(), detail }
    const { pid } = running.process ?? {}
    log.warn({ server: server.name, pid, crashes: kept.crashes.count }, `the process of a server exited: ${detail}`)
    const current = find(server.id)
    if (isLoop && current?.state === 'open' && current.removedAt === null) {
      kept.tripped = true
      const reason = crashLoop(kept.crashes.row, detail)
      log.warn({ server: server.name }, `the server is closed: ${reason}`)
      close(current, reason)
    }
    if (kept.tripped) this.#tell(server, kept, `closed after ${kept.crashes.row} crashes, last: ${detail}`)
    else if (!othersLive) this.#tell(server, kept, `exited ${times(kept.crashes.count)}, last: ${detail}`)
    else this.deps.onTurned(server)
  }

  #tick(): void {
    const { find, limits } = this.deps
    const now = stopwatch()
    for (const [id, kept] of this.#kept) {
      const server = find(id)
      if (server?.stdio) this.#follow(server, kept, server.stdio)
    }
    for (const running of this.#all) {
      const { server, spec, tokenId } = running
      const current = find(server.id) ?? server
      const isOver = current.removedAt !== null || current.state === 'closed' || current.stdio !== spec
      // What a look leaves behind nobody comes back for, but the shared one of a server that is there.
      const isLook = tokenId === null && !(spec.shared && find(server.id))
      const idleMsMax = isLook ? limits.stdioEvictIdleMs : spec.idleMs
      if (!running.ending && (isOver || (running.idleMs(now) ?? -1) >= idleMsMax)) running.stop()
      else if (livesLong(running, now, limits)) this.#kept.get(server.id)?.crashes.livesOn()
    }
    const isWatched = this.#all.size > 0 || [...this.#kept.values()].some(({ tripped }) => tripped)
    if (isWatched) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

const leaseOf = (running: Running, process: Process): Lease => ({
  process,
  get ending() {
    return running.ending
  },
  get trial() {
    return running.trial
  },
  set trial(trial) {
    running.trial = trial
  },
  use: () => running.use(),
  touch: (caller) => running.touch(caller),
  stop: () => running.stop(),
})

const livesLong = ({ ending, startedAt }: Running, now: number, { stdioShortLifeMs }: Limits): boolean =>
  !ending && startedAt !== null && now - startedAt >= stdioShortLifeMs

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`)
