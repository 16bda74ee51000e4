interface Event {
  at: number
  order: number
  run: () => void
}

const STILL_MAX = 50_000

/** What is to happen, by its time; of one moment in the order in which it was planned. A binary heap. */
export class Timeline {
  now = 0
  #order = 0
  /** How many events came one after another while no time passed. */
  #still = 0
  readonly #heap: Event[] = []

  at(time: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ at: Math.max(time, this.now), order: this.#order++, run })
    let child = heap.length - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (this.#before(parent, child)) return
      this.#swap(parent, child)
      child = parent
    }
  }

  /** Makes the next event happen. Returns false when there is none. */
  next(): boolean {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (!first || !last) return false
    if (heap.length > 0) {
      heap[0] = last
      this.#sink()
    }
    this.#still = first.at > this.now ? 0 : this.#still + 1
    if (this.#still > STILL_MAX) throw new Error('time stands still: something is to happen at once, for ever')
    this.now = first.at
    first.run()
    return true
  }

  #sink(): void {
    const { length } = this.#heap
    for (let parent = 0; ;) {
      let least = parent
      for (const child of [2 * parent + 1, 2 * parent + 2]) {
        if (child < length && this.#before(child, least)) least = child
      }
      if (least === parent) return
      this.#swap(parent, least)
      parent = least
    }
  }

  #before(a: number, b: number): boolean {
    const [one, other] = [this.#heap[a] as Event, this.#heap[b] as Event]
    return one.at < other.at || (one.at === other.at && one.order < other.order)
  }

  #swap(a: number, b: number): void {
    const heap = this.#heap
    const one = heap[a] as Event
    heap[a] = heap[b] as Event
    heap[b] = one
  }
}
