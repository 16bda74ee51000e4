import { setImmediate as turn } from 'node:timers/promises'
import type { Limits } from './limits.ts'
import { fold } from './text.ts'
import { TextList } from './text-list.ts'
import type { TokenIndex } from './token-index.ts'
import { inTurns } from './turns.ts'

/** Rows sorted in one go: a millisecond or two. */
const RUN = 1_024

/** The words of a query, folded: all of them must be found, in any order. */
export const wordsOf = (query: string): string[] => fold(query).split(/\s+/).filter(Boolean)

export const holdsAll = (text: string, words: readonly string[]): boolean => words.every((word) => text.includes(word))

/**
 * The names of all tokens, folded: searched, and in order. Made when somebody first looks, with turns for others in
 * between, and kept, since names never change and no token is forgotten.
 */
export class TokenNames {
  readonly #folded = new TextList()
  #inOrder: Uint32Array = new Uint32Array(0)
  #busy: Promise<void> = Promise.resolve()

  constructor(
    readonly tokens: TokenIndex,
    readonly limits: Limits,
  ) {}

  /** Rows in the order of their folded names, and of their ids where those are the same. */
  async inOrder(): Promise<Uint32Array> {
    await this.#alone(async () => {
      await this.#fold()
      if (this.#inOrder.length < this.#folded.size) this.#inOrder = await this.#sorted()
    })
    return this.#inOrder
  }

  /** Whether what stands in a row holds every word of a query in its name, subject or group; an empty one is in all. */
  async filter(query: string): Promise<(row: number) => boolean> {
    const words = wordsOf(query)
    if (words.length === 0) return () => true
    await this.#alone(() => this.#fold())
    const { table } = this.tokens
    const found = words.map((word) => ({
      word,
      subjects: table.subject.keysWith([word]),
      groups: table.group.keysWith([word]),
    }))
    return (row) => {
      const name = this.at(row)
      const subject = table.subject.keyAt(row)
      const group = table.group.keyAt(row)
      return found.every(
        ({ word, subjects, groups }) => name.includes(word) || subjects.has(subject) || groups.has(group),
      )
    }
  }

  /** The folded name of a token; of one that was just made, too. */
  at(row: number): string {
    return row < this.#folded.size ? this.#folded.at(row) : fold(this.tokens.table.nameAt(row))
  }

  /** One after the other: two that look at once must not fold a name twice. */
  #alone(work: () => Promise<void>): Promise<void> {
    return (this.#busy = this.#busy.then(work, work))
  }

  async #fold(): Promise<void> {
    const { table } = this.tokens
    await inTurns(
      rowsFrom(this.#folded.size, () => table.size),
      this.limits.tokensHoldMs,
      (row) => {
        this.#folded.add(fold(table.nameAt(row)))
      },
    )
  }

  /** What was made since joins what is in order: a merge sort, in turns. */
  async #sorted(): Promise<Uint32Array> {
    const [known, size] = [this.#inOrder.length, this.#folded.size]
    const compare = (a: number, b: number) => this.#folded.compare(a, b) || a - b
    const runs: Uint32Array[] = []
    for (let first = known; first < size; first += RUN) {
      runs.push(Uint32Array.from({ length: Math.min(RUN, size - first) }, (_, at) => first + at).sort(compare))
      await turn()
    }
    // The long one last, so that it is merged once.
    runs.push(this.#inOrder)
    while (runs.length > 1) {
      const [a, b] = [runs.shift() as Uint32Array, runs.shift() as Uint32Array]
      const merged = new Uint32Array(a.length + b.length)
      let [inA, inB] = [0, 0]
      await inTurns(
        rowsFrom(0, () => merged.length),
        this.limits.tokensHoldMs,
        (at) => {
          const isA = inB === b.length || (inA < a.length && compare(a[inA] as number, b[inB] as number) < 0)
          merged[at] = (isA ? a[inA++] : b[inB++]) as number
        },
      )
      runs.push(merged)
    }
    return runs[0] as Uint32Array
  }
}

function* rowsFrom(first: number, end: () => number): Generator<number> {
  for (let row = first; row < end(); row += 1) yield row
}
