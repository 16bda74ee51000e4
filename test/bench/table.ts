/** Columns as wide as they need; the first to the left, numbers to the right. */
export const table = (header: string[], rows: string[][]): string => {
  const lines = [header, ...rows]
  const widths = header.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)))
  return lines
    .map((line) => line.map((cell, at) => (at === 0 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0))).join('  '))
    .join('\n')
}

export const ms = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(1))
