/** Rows of one page: growing makes another page and moves nothing. */
const PAGE_BITS = 12
const PAGE_ROWS = 1 << PAGE_BITS
const AT = PAGE_ROWS - 1

/** No row, no text: a whole number that is none of theirs. */
export const NONE = 0xffff_ffff

// Two classes and not one with a parameter: a loop over a million rows takes three times as long where the compiler
// meets both kinds of array in one place.

/** A column of whole numbers below 2^32; `initial` where nothing was set, and no page where all are that. */
export class Numbers {
  readonly #pages: (Uint32Array | undefined)[] = []

  constructor(readonly initial: number) {}

  get(row: number): number {
    return this.#pages[row >>> PAGE_BITS]?.[row & AT] ?? this.initial
  }

  set(row: number, value: number): void {
    let page = this.#pages[row >>> PAGE_BITS]
    if (!page) {
      if (value === this.initial) return
      this.#pages[row >>> PAGE_BITS] = page = new Uint32Array(PAGE_ROWS).fill(this.initial)
    }
    page[row & AT] = value
  }
}

/** A column of instants, in milliseconds since the epoch; `Infinity`: never. */
export class Times {
  readonly #pages: (Float64Array | undefined)[] = []

  get(row: number): number {
    return this.#pages[row >>> PAGE_BITS]?.[row & AT] ?? Infinity
  }

  getOrNull(row: number): number | null {
    const at = this.get(row)
    return at === Infinity ? null : at
  }

  set(row: number, at: number | null): void {
    let page = this.#pages[row >>> PAGE_BITS]
    if (!page) {
      if (at === null) return
      this.#pages[row >>> PAGE_BITS] = page = new Float64Array(PAGE_ROWS).fill(Infinity)
    }
    page[row & AT] = at ?? Infinity
  }
}
