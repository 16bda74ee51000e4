import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dir, '../..')

/** A fenced block of a document. */
export interface Fence {
  file: string
  line: number
  /** The nearest heading above it. */
  heading: string
  language: string
  /** What stands after the language. */
  mode: string
  text: string
}

/** A fenced block of shell, and what it is said to print. */
export interface Block extends Fence {
  /** The plain block that follows under the same heading, before any other: the output as the page shows it. */
  shown: string | null
}

export interface Page {
  file: string
  fences: Fence[]
  headings: string[]
  /** The lines outside of fences, with their numbers. */
  prose: { line: number; text: string }[]
}

/** A document of the project, taken apart. `file` is relative to the project. */
export const readPage = (file: string): Page => {
  const page: Page = { file, fences: [], headings: [], prose: [] }
  let heading = ''
  let open: { ticks: string; fence: Fence; lines: string[] } | null = null
  for (const [index, text] of readFileSync(join(ROOT, file), 'utf8').split('\n').entries()) {
    const line = index + 1
    if (open) {
      if (text.trim() === open.ticks) {
        page.fences.push({ ...open.fence, text: open.lines.join('\n') })
        open = null
      } else open.lines.push(text)
      continue
    }
    const [, title] = /^#+ (.*)$/.exec(text) ?? []
    if (title !== undefined) {
      heading = title
      page.headings.push(title)
    }
    const [, ticks, language = '', mode = ''] = /^ *(```+)(\S*) ?(.*)$/.exec(text) ?? []
    if (ticks === undefined) page.prose.push({ line, text })
    else open = { ticks, fence: { file, line, heading, language, mode: mode.trim(), text: '' }, lines: [] }
  }
  if (open) throw new Error(`${file}:${open.fence.line}: the block has no end`)
  return page
}

/** All blocks of shell in a document, in order. */
export const blocksOf = (file: string): Block[] => {
  const { fences } = readPage(file)
  return fences.flatMap((fence, index) => {
    if (fence.language !== 'sh') return []
    const next = fences[index + 1]
    const shown = next?.language === '' && next.heading === fence.heading ? next.text : null
    return [{ ...fence, shown }]
  })
}
