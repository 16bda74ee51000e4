import type { Limits } from '../../limits.ts'
import type { Registry } from '../../registry.ts'
import type { StdioProcesses, StdioSpec, StdioStatus } from '../../stdio.ts'
import type { Clock } from '../../time.ts'
import { denialOf } from '../../token.ts'
import type { Upstream } from '../../upstream.ts'
import { type Problem, problemOf, problemOfCut, problems, ProblemError } from '../problem.ts'
import type { Caller } from '../upstream.ts'
import { Crashes } from './crashes.ts'
import { type LaunchDeps, launchOf } from './launch.ts'
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
  startedInAll: number
  lastCrash: StdioStatus['lastCrash']
  problem: string | null
  /** It was closed for its crashes. */
  tripped: boolean
  /** By the stopwatch: what is no server, or none any more, is forgotten a while later. */
  usedAt: number
}

const stopwatch = () => performance.now()

/** The processes of all servers that are commands, under the node's limits. */
export class Supervisor implements StdioProcesses {
  readonly #kept = new Map<string, Kept>()
  /** Also those that start, and those that end. */
  readonly #all = new Set<Running>()
  readonly #reaper = new Reaper()
  /** Told when a place is free. */
  #waiting: (() => void)[] = []
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(readonly deps: SupervisorDeps) {}

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
    await this.#place(running)
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
      processes: [...this.#all].filter(({ server, process }) => server.id === id && process).length,
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
    const counts = { startedInAll: 0, lastCrash: null, problem: null, tripped: false, usedAt: stopwatch() }
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
    this.#works(server, kept)
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

  /** Takes a place under both limits. Throws `ProblemError` where all are in use. */
  async #place(running: Running): Promise<void> {
    // An end that was begun is over after the grace; one that the kernel holds up is not waited for.
    const deadline = stopwatch() + this.deps.limits.stdioGraceMs * 2
    for (let full = this.#full(running); full; full = this.#full(running)) {
      if (!full.among.some(({ ending }) => ending)) {
        const idle = this.#longestIdle(full.among)
        if (!idle) throw new ProblemError(full.problem)
        idle.stop()
      }
      if (stopwatch() > deadline) throw new ProblemError(full.problem)
      await this.#freed(deadline - stopwatch())
    }
    this.#all.add(running)
    this.#timer ??= setInterval(() => this.#tick(), this.deps.limits.stdioTickMs)
  }

  /** Which limit leaves no place, and who holds all of them. */
  #full({ tokenId }: Running): { among: Running[]; problem: Problem } | null {
    const { stdioProcessesMax, stdioProcessesPerTokenMax } = this.deps.limits
    const all = [...this.#all]
    const own = tokenId === null ? [] : all.filter((other) => other.tokenId === tokenId)
    if (own.length >= stdioProcessesPerTokenMax) return { among: own, problem: problems.tokenProcessesFull }
    return all.length >= stdioProcessesMax ? { among: all, problem: problems.processesFull } : null
  }

  #longestIdle(among: readonly Running[]): Running | undefined {
    const now = stopwatch()
    return among
      .map((running) => ({ running, idleMs: running.idleMs(now) ?? -1 }))
      .filter(({ idleMs }) => idleMs >= this.deps.limits.stdioEvictIdleMs)
      .toSorted((a, b) => b.idleMs - a.idleMs)[0]?.running
  }

  #freed(withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const late = setTimeout(resolve, Math.max(0, withinMs))
      this.#waiting.push(() => {
        clearTimeout(late)
        resolve()
      })
    })
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
      // Cut while it was made ready, or the node stops.
      if (running.ending) throw new ProblemError(problemOfCut(running.cause ?? 'connection_killed'))
      process = spawnProcess(launch, this.#reaper, limits, {
        stderr: (line) => kept.stderr.line(line, process.pid),
        heard: () => this.#works(server, kept),
      })
    } catch (error) {
      if (error instanceof ProblemError && !running.ending) this.#turn(server, kept, error.problem.detail)
      throw error
    }
    running.process = process
    kept.startedInAll += 1
    void process.ended.then((end) => this.#ended(running, kept, end))
    return process
  }

  #works(server: Upstream, kept: Kept): void {
    if (kept.problem !== null) this.#turn(server, kept, null)
  }

  #turn(server: Upstream, kept: Kept, problem: string | null): void {
    kept.problem = problem
    this.deps.onTurned(server)
  }

  #leave(running: Running): void {
    this.#all.delete(running)
    if (running.connection) this.deps.registry.remove(running.connection)
    for (const free of this.#waiting.splice(0)) free()
  }

  #ended(running: Running, kept: Kept, { crashed, detail }: ProcessEnd): void {
    const wasEnding = running.ending
    running.ending = true
    this.#leave(running)
    // One of before a change says nothing about what runs since.
    if (!crashed || wasEnding || running.trial || kept.spec !== running.spec) return
    const { server, startedAt } = running
    const { limits, log, now, find, close } = this.deps
    const endedAt = stopwatch()
    const othersLive = [...this.#all].some((other) => other.spec === running.spec && livesLong(other, endedAt, limits))
    const isLoop = kept.crashes.add({ startedAt: startedAt ?? endedAt, endedAt, othersLive })
    kept.lastCrash = { at: now(), detail }
    const { pid } = running.process ?? {}
    log.warn({ server: server.name, pid, crashes: kept.crashes.count }, `the process of a server exited: ${detail}`)
    const current = find(server.id)
    if (isLoop && current?.state === 'open' && current.removedAt === null) {
      kept.tripped = true
      const reason = `crash loop: it exited ${kept.crashes.row} times in a row, last: ${detail}`
      log.warn({ server: server.name }, `the server is closed: ${reason}`)
      close(current, reason)
    }
    if (kept.tripped) this.#turn(server, kept, `closed after ${kept.crashes.row} crashes, last: ${detail}`)
    else if (!othersLive) this.#turn(server, kept, `exited ${times(kept.crashes.count)}, last: ${detail}`)
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
      // What a look leaves behind nobody comes back for.
      const idleMsMax = tokenId === null && !spec.shared ? limits.stdioEvictIdleMs : spec.idleMs
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
