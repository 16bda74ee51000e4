const PAGE_BITS = 10
const PAGE_TEXTS = 1 << PAGE_BITS
const AT = PAGE_TEXTS - 1
/** UTF-8 takes three bytes at the most for a unit of UTF-16. */
const BYTES_PER_UNIT_MAX = 3

interface Page {
  bytes: Buffer
  /** Where each of its texts ends; it begins where the one before ends. */
  ends: Uint32Array
  /** Then a byte is a character, and reading one takes half as long. */
  isAscii: boolean
}

/**
 * Texts by number, counted up from 0, in UTF-8: a quarter of what strings take, and nothing for the garbage collector
 * to walk through. What is half a character becomes U+FFFD.
 */
export class TextList {
  readonly #pages: Page[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  at(number: number): string {
    const { bytes, ends, isAscii } = this.#pages[number >>> PAGE_BITS] as Page
    const place = number & AT
    return bytes.toString(isAscii ? 'latin1' : 'utf8', place === 0 ? 0 : ends[place - 1], ends[place])
  }

  /** Most are compared without making a string of them. */
  is(number: number, text: string): boolean {
    const { bytes, ends, isAscii } = this.#pages[number >>> PAGE_BITS] as Page
    if (!isAscii) return this.at(number) === text
    const place = number & AT
    const start = place === 0 ? 0 : (ends[place - 1] as number)
    if ((ends[place] as number) - start !== text.length) return false
    for (let unit = text.length - 1; unit >= 0; unit -= 1) {
      if (bytes[start + unit] !== text.charCodeAt(unit)) return false
    }
    return true
  }

  /** Below 0 where the first comes before the second in the order of their code points. */
  compare(first: number, second: number): number {
    const [a, b] = [this.#pages[first >>> PAGE_BITS] as Page, this.#pages[second >>> PAGE_BITS] as Page]
    const [aPlace, bPlace] = [first & AT, second & AT]
    let aByte = aPlace === 0 ? 0 : (a.ends[aPlace - 1] as number)
    let bByte = bPlace === 0 ? 0 : (b.ends[bPlace - 1] as number)
    const aEnd = a.ends[aPlace] as number
    const bEnd = b.ends[bPlace] as number
    for (; aByte < aEnd && bByte < bEnd; aByte += 1, bByte += 1) {
      const difference = (a.bytes[aByte] as number) - (b.bytes[bByte] as number)
      if (difference !== 0) return difference
    }
    return aEnd - aByte - (bEnd - bByte)
  }

  /** Its number. */
  add(text: string): number {
    const number = this.#size
    const place = number & AT
    if (place === 0) {
      const full = this.#pages.at(-1)
      if (full) resize(full, full.ends[AT] as number)
      this.#pages.push({ bytes: Buffer.alloc(0), ends: new Uint32Array(PAGE_TEXTS), isAscii: true })
    }
    const page = this.#pages.at(-1) as Page
    const start = place === 0 ? 0 : (page.ends[place - 1] as number)
    const room = start + text.length * BYTES_PER_UNIT_MAX
    if (room > page.bytes.length) resize(page, room * 2)
    const written = page.bytes.write(text, start)
    if (written !== text.length) page.isAscii = false
    page.ends[place] = start + written
    this.#size += 1
    return number
  }
}

const resize = (page: Page, length: number): void => {
  const bytes = Buffer.alloc(length)
  page.bytes.copy(bytes, 0, 0, length)
  page.bytes = bytes
}
