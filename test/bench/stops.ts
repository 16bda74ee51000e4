/** What was started, stopped in the opposite order, whatever happened in between. */
export class Stops {
  readonly #stops: (() => unknown)[] = []

  add<T extends { stop: () => unknown }>(started: T): T {
    this.#stops.push(() => started.stop())
    return started
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stops.reverse()) await stop()
  }
}
