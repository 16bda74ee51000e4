/** Pieces of Markdown that the generated pages are made of. */

/** In a table a bar would end the cell, and a line break the row. */
export const cell = (text: string): string =>
  text
    .replaceAll('|', String.raw`\|`)
    .replaceAll('<', '&lt;')
    .replaceAll('\n', ' ')

/** Text as code, as it is; a bar is escaped even there. */
export const code = (text: string): string => `\`${text.replaceAll('|', String.raw`\|`)}\``

export const table = (head: string[], rows: string[][]): string =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

export const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** The first line says where the page comes from, for whoever wants to change it. */
export const page = (title: string, ...parts: string[]): string =>
  [`<!-- Generated from the code: bun run reference -->`, `# ${title}`, ...parts].join('\n\n') + '\n'
