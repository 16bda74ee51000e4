import { Slots } from './slots.ts'

const BYTES = 32
const PAGE_BITS = 12
const PAGE_ROWS = 1 << PAGE_BITS
const AT = PAGE_ROWS - 1

/** HMAC-SHA256 digests, 32 bytes each, by row. Whoever has no key can't choose them, so their first bytes are their hash. */
export class Digests {
  readonly #pages: Buffer[] = []
  readonly #slots = new Slots<Uint8Array>((row, digest) => this.#is(row, digest))
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The row of that digest, or `NONE`. */
  find(digest: Uint8Array): number {
    return this.#slots.find(hashOf(digest), digest)
  }

  /** Adds one that is not there yet, in base64; returns its row. */
  add(digest: string): number {
    const row = this.#size
    if ((row & AT) === 0) this.#pages.push(Buffer.alloc(PAGE_ROWS * BYTES))
    const page = this.#page(row)
    page.write(digest, (row & AT) * BYTES, BYTES, 'base64')
    this.#slots.add(page.readUInt32LE((row & AT) * BYTES), row)
    this.#size += 1
    return row
  }

  /** In base64, as it is stored. */
  at(row: number): string {
    const start = (row & AT) * BYTES
    return this.#page(row).toString('base64', start, start + BYTES)
  }

  #is(row: number, digest: Uint8Array): boolean {
    const page = this.#page(row)
    const start = (row & AT) * BYTES
    for (let byte = 0; byte < BYTES; byte += 1) if (page[start + byte] !== digest[byte]) return false
    return true
  }

  #page(row: number): Buffer {
    return this.#pages[row >>> PAGE_BITS] as Buffer
  }
}

const hashOf = (digest: Uint8Array): number =>
  ((digest[0] as number) |
    ((digest[1] as number) << 8) |
    ((digest[2] as number) << 16) |
    ((digest[3] as number) << 24)) >>>
  0
