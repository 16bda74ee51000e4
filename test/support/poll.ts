type Wait = { timeoutMs?: number; everyMs?: number; what?: string }

type Truthy<T> = Exclude<T, false | null | undefined | 0 | ''>

/**
 * Asks `fn` until it answers something truthy, and gives that back. A throw counts as "not yet":
 * the last one is the cause when the time is up, so that an `expect` may stand inside.
 */
export const eventually = async <T>(fn: () => T | Promise<T>, wait: Wait = {}): Promise<Truthy<T>> => {
  const { timeoutMs = 5_000, everyMs = 2, what = fn.toString() } = wait
  const deadline = performance.now() + timeoutMs
  let cause: unknown
  for (;;) {
    try {
      const value = await fn()
      if (value) return value as Truthy<T>
      cause = undefined
    } catch (error) {
      cause = error
    }
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause })
    await Bun.sleep(everyMs)
  }
}
