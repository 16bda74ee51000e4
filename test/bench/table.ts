/** Columns as wide as they need; the first to the left, numbers to the right. */
export const table = (header: string[], rows: string[][]): string => {
  const lines = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  const padded = (cell: string, at: number): string => {
    const width = widths[at] ?? 0
    return at === 0 ? cell.padEnd(width) : cell.padStart(width)
  }
  return lines.map((line) => line.map(padded).join('  ')).join('\n')
}

/** Such as 1,000. */
export const grouped = (count: number): string => count.toLocaleString('en')

export const ms = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(1))
