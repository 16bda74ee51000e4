import { Numbers } from './column.ts'
import type { TokenIndex, TokenRow } from './token-index.ts'

/** Some of the tokens, a bit each: a set of a million ids takes a hundred megabytes. */
export class TokenSet {
  readonly #bits = new Numbers(0)
  #size = 0

  constructor(readonly tokens: TokenIndex) {}

  get size(): number {
    return this.#size
  }

  has({ row }: Pick<TokenRow, 'row'>): boolean {
    return (this.#bits.get(row >>> 5) & (1 << (row & 31))) !== 0
  }

  add(token: Pick<TokenRow, 'row'>): void {
    if (!this.has(token)) this.#flip(token, 1)
  }

  delete(token: Pick<TokenRow, 'row'>): void {
    if (this.has(token)) this.#flip(token, -1)
  }

  /** In the order of all tokens. */
  *[Symbol.iterator](): Generator<TokenRow> {
    let left = this.#size
    for (const token of this.tokens) {
      if (left === 0) return
      if (!this.has(token)) continue
      left -= 1
      yield token
    }
  }

  #flip({ row }: Pick<TokenRow, 'row'>, more: 1 | -1): void {
    this.#bits.set(row >>> 5, (this.#bits.get(row >>> 5) ^ (1 << (row & 31))) >>> 0)
    this.#size += more
  }
}
