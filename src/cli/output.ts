/** Everything that the command line writes to the terminal, and how it looks there. */

// Terminals act on control characters, and directional ones reorder what people read.
// oxlint-disable-next-line no-control-regex
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

const escapeCharacter = (character: string): string => {
  const code = character.charCodeAt(0)
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`
}

/** One line of text that came from elsewhere, with everything escaped that a terminal would act on. */
export const clean = (text: string): string => text.replace(UNSAFE, escapeCharacter)

const cleanLines = (text: string): string =>
  text.replace(UNSAFE, (character) => (character === '\n' ? character : escapeCharacter(character)))

// process.exit would lose what a pipe has not taken yet, so every write is awaited.
const written = (stream: NodeJS.WriteStream, text: string | Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()))
  })

/** Bytes to stdout as they are, for what is not meant for eyes: exports, backups, cursor movements. */
export const writeRaw = (data: string | Uint8Array): Promise<void> => written(process.stdout, data)

/** Lines for people, to stdout. */
export const say = (text: string): Promise<void> => written(process.stdout, `${cleanLines(text)}\n`)

/** Lines for people, to stderr. */
export const warn = (text: string): Promise<void> => written(process.stderr, `${cleanLines(text)}\n`)

// JSON.stringify leaves these as they are; \u escapes are the same JSON.
const JSON_UNSAFE = /[\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g

/** JSON that is safe to show in a terminal too. */
export const toJson = (document: unknown, indent?: number): string =>
  JSON.stringify(document, null, indent).replace(
    JSON_UNSAFE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - Bun.stringWidth(text)))

const aligned = (rows: string[][]): string[] => {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, Bun.stringWidth(cell))
    }
  }
  return rows.map((row) =>
    row
      .map((cell, column) => pad(cell, widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** Columns under a head; `empty` is said instead of a table without rows. */
export const table = (head: string[], rows: string[][], empty: string): string =>
  rows.length === 0 ? empty : aligned([head, ...rows.map((row) => row.map(clean))]).join('\n')

/** Names and values below each other; a value of null is shown as a dash. */
export const fields = (pairs: [name: string, value: string | number | null][]): string =>
  aligned(pairs.map(([name, value]) => [`${name}:`, value === null ? '-' : clean(String(value))])).join('\n')

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const

/** A length of time in its largest whole unit: 45s, 3m, 2h, 12d. */
export const age = (ms: number): string => {
  for (const [unit, unitMs] of UNITS) {
    if (ms >= unitMs) return `${Math.floor(ms / unitMs)}${unit}`
  }
  return '0s'
}

export const ago = (time: string | null): string =>
  time === null ? 'never' : `${age(Math.max(0, Date.now() - Date.parse(time)))} ago`

export const millis = (ms: number | null): string => (ms === null ? '-' : `${Math.round(ms * 10) / 10} ms`)

export const bytes = (count: number): string => {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = count
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`
}

export const counted = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`
