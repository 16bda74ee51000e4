import { NONE } from './column.ts'
import { Slots } from './slots.ts'
import { TextList } from './text-list.ts'

// Nobody outside knows it, so nobody can choose names that all fall into one place.
const SEED = crypto.getRandomValues(new Uint32Array(1))[0] as number
const hashOf = (text: string): number => Bun.hash.xxHash32(text, SEED)

/** Texts by number, each once, and their numbers by text. */
export class Texts {
  readonly #list = new TextList()
  readonly #slots = new Slots<string>((number, text) => this.#list.is(number, text))

  get size(): number {
    return this.#list.size
  }

  at(number: number): string {
    return this.#list.at(number)
  }

  /** The number of a text, or `NONE`. */
  find(text: string): number {
    // Half a character can't be written in UTF-8, and would not be found again.
    const wanted = text.toWellFormed()
    return this.#slots.find(hashOf(wanted), wanted)
  }

  /** The number of a text, which it gets where it has none. */
  intern(text: string): number {
    const number = this.find(text)
    return number === NONE ? this.add(text) : number
  }

  /** The next number, for a text that is known to have none. */
  add(text: string): number {
    const wanted = text.toWellFormed()
    const number = this.#list.add(wanted)
    this.#slots.add(hashOf(wanted), number)
    return number
  }
}
