/** Time as one interleaving has it: timers run when it says so, and the wall clock may be set. */

interface Timer {
  at: number
  order: number
  everyMs: number | null
  run: () => void
}

/** What a timer's owner may do with it, as with the runtime's. */
interface Handle {
  id: number
  ref(): Handle
  unref(): Handle
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  setImmediate: globalThis.setImmediate,
}

/** Until everything that waits in queues of the runtime has run. */
export const settled = (): Promise<void> => new Promise((resolve) => void real.setImmediate(resolve))

export class FakeTime {
  /** What the wall clock shows, in milliseconds. */
  wallMs = 1_800_000_000_000
  /** What no one can set. */
  monotonicMs = 0
  readonly #timers = new Map<number, Timer>()
  #immediates: (() => void)[] = []
  #made = 0
  /** What a timer threw: nobody else would hear of it. */
  readonly thrown: unknown[] = []

  /** How many timers wait that run once. */
  get waiting(): number {
    return [...this.#timers.values()].filter(({ everyMs }) => everyMs === null).length + this.#immediates.length
  }

  /** Forgets everything that was to run: its process has died. */
  clear(): void {
    this.#timers.clear()
    this.#immediates = []
  }

  /** What `setImmediate` promised, but not what that promises in turn. */
  runImmediates(): void {
    const due = this.#immediates
    this.#immediates = []
    for (const run of due) this.#run(run)
  }

  /** Goes on by so many milliseconds, from timer to timer; `between` is awaited after each. */
  async advance(ms: number, between: () => Promise<void>): Promise<void> {
    const until = this.monotonicMs + ms
    for (let next = this.#next(until); next; next = this.#next(until)) {
      const [id, timer] = next
      this.#goTo(Math.max(timer.at, this.monotonicMs))
      if (timer.everyMs === null) this.#timers.delete(id)
      else timer.at += timer.everyMs
      this.#run(timer.run)
      await between()
    }
    this.#goTo(until)
  }

  #goTo(at: number): void {
    this.wallMs += at - this.monotonicMs
    this.monotonicMs = at
  }

  #next(until: number): [number, Timer] | null {
    let found: [number, Timer] | null = null
    for (const entry of this.#timers) {
      const [, timer] = entry
      if (timer.at > until) continue
      if (!found || timer.at < found[1].at || (timer.at === found[1].at && timer.order < found[1].order)) found = entry
    }
    return found
  }

  #run(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.thrown.push(error)
    }
  }

  #add(run: () => void, waitMs: number, everyMs: number | null): Handle {
    this.#made += 1
    const id = this.#made
    this.#timers.set(id, { at: this.monotonicMs + waitMs, order: id, everyMs, run })
    const handle = { id, ref: () => handle, unref: () => handle }
    return handle
  }

  /** Puts these timers in place of the runtime's. Returns what puts them back. */
  install(): () => void {
    const clear = (handle: Handle | undefined) => void (handle && this.#timers.delete(handle.id))
    const { timeout } = AbortSignal
    Object.assign(globalThis, {
      setTimeout: (run: () => void, waitMs = 0) => this.#add(run, waitMs, null),
      setInterval: (run: () => void, everyMs: number) => this.#add(run, everyMs, everyMs),
      setImmediate: (run: () => void) => this.#immediates.push(run),
      clearTimeout: clear,
      clearInterval: clear,
    })
    AbortSignal.timeout = () => new AbortController().signal
    const { performance } = globalThis
    globalThis.performance = { now: () => this.monotonicMs } as Performance
    return () => {
      Object.assign(globalThis, real, { performance })
      AbortSignal.timeout = timeout
    }
  }
}
