import { NONE } from './column.ts'

const SHARD_BITS = 8
const SHARDS = 1 << SHARD_BITS
const SLOTS_MIN = 4

/**
 * Rows by the hash of what they hold: open addressing, linear probing, never more than three quarters full. In shards,
 * so that growing moves some thousand rows and never a million at once. Nothing is ever taken out.
 */
export class Slots<Key> {
  /** Pairs: a row and one, where there is any, and its hash, so that hardly a row is looked at in vain. */
  readonly #shards = Array.from({ length: SHARDS }, () => new Uint32Array(2 * SLOTS_MIN))
  readonly #used = new Uint32Array(SHARDS)

  constructor(readonly isAt: (row: number, key: Key) => boolean) {}

  /** The row that holds the key, whose hash of 32 bits that is, or `NONE`. */
  find(hash: number, key: Key): number {
    const shard = this.#shards[hash & (SHARDS - 1)] as Uint32Array
    const mask = shard.length - 2
    for (let slot = firstOf(hash, mask); ; slot = (slot + 2) & mask) {
      const held = shard[slot] as number
      if (held === 0) return NONE
      if (shard[slot + 1] === hash && this.isAt(held - 1, key)) return held - 1
    }
  }

  /** Puts a row under its hash; the caller knows that no other holds the same. */
  add(hash: number, row: number): void {
    const number = hash & (SHARDS - 1)
    const used = (this.#used[number] as number) + 1
    this.#used[number] = used
    let shard = this.#shards[number] as Uint32Array
    if (used * 8 > shard.length * 3) {
      const grown = new Uint32Array(shard.length * 2)
      for (let slot = 0; slot < shard.length; slot += 2) {
        if (shard[slot] !== 0) put(grown, shard[slot + 1] as number, shard[slot] as number)
      }
      this.#shards[number] = shard = grown
    }
    put(shard, hash, row + 1)
  }
}

const firstOf = (hash: number, mask: number): number => (hash >>> (SHARD_BITS - 1)) & mask

const put = (shard: Uint32Array, hash: number, held: number): void => {
  const mask = shard.length - 2
  let slot = firstOf(hash, mask)
  while (shard[slot] !== 0) slot = (slot + 2) & mask
  shard[slot] = held
  shard[slot + 1] = hash
}
