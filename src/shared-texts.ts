import { NONE, Numbers } from './column.ts'
import { fold } from './text.ts'
import { Texts } from './texts.ts'

/**
 * A column of texts that many rows share and that are compared folded: subjects, groups. Each is kept once as it was
 * written, and has the key of what it folds to.
 */
export class SharedTexts {
  readonly #texts = new Texts()
  readonly #text = new Numbers(NONE)
  readonly #keys = new Texts()
  /** By the number of a text. */
  readonly #keyOf = new Numbers(NONE)
  /** By key: the last row that has it. */
  readonly #last = new Numbers(NONE)
  /** The row that has the same key before this one. */
  readonly #before = new Numbers(NONE)

  /** Rows come one after the other, and each once. */
  set(row: number, text: string | null): void {
    if (text === null) return
    const number = this.#texts.intern(text)
    let key = this.#keyOf.get(number)
    if (key === NONE) this.#keyOf.set(number, (key = this.#keys.intern(fold(text))))
    this.#text.set(row, number)
    this.#before.set(row, this.#last.get(key))
    this.#last.set(key, row)
  }

  at(row: number): string | null {
    const number = this.#text.get(row)
    return number === NONE ? null : this.#texts.at(number)
  }

  /** The key of what stands in a row, or `NONE`. */
  keyAt(row: number): number {
    const number = this.#text.get(row)
    return number === NONE ? NONE : this.#keyOf.get(number)
  }

  /** The key of a folded text, or `NONE` where no row holds what folds to it. */
  find(folded: string): number {
    return this.#keys.find(folded)
  }

  /** The keys of what holds all of the words, which are folded. */
  keysWith(words: readonly string[]): ReadonlySet<number> {
    const found = new Set<number>()
    for (let key = 0; key < this.#keys.size; key += 1) {
      const text = this.#keys.at(key)
      if (words.every((word) => text.includes(word))) found.add(key)
    }
    return found
  }

  /** The rows with that key, the first one first. */
  rowsWith(key: number): number[] {
    const rows: number[] = []
    if (key === NONE) return rows
    for (let row = this.#last.get(key); row !== NONE; row = this.#before.get(row)) rows.push(row)
    return rows.reverse()
  }
}
