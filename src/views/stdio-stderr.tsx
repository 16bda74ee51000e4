/** @jsxImportSource hono/jsx */
import { limits } from '../limits.ts'
import { Time } from './time.tsx'
import { count } from './words.ts'

export interface StderrLine {
  at: string
  line: string
}

/** The newest lines, as many as a page holds. */
const newest = (lines: readonly StderrLine[]): readonly StderrLine[] => {
  let left = limits.stdioStderrCharactersShownMax
  return lines.slice(lines.findLastIndex(({ line }) => (left -= line.length) < 0) + 1)
}

/** The last that its processes said on standard error. What scrolls stands at its end, where the newest is. */
export const Stderr = ({ lines, isOpen = false }: { lines: readonly StderrLine[]; isOpen?: boolean }) => {
  const shown = newest(lines)
  const last = shown.at(-1)
  if (!last) return null
  return (
    <details class="card" id="stderr" open={isOpen}>
      <summary>
        Standard error: {count(shown.length, 'line')}, the last <Time at={last.at} exact />
      </summary>
      <div class="tail" tabindex={0} role="region" aria-label="Standard error">
        <pre dir="ltr">{shown.map(({ line }) => line).join('\n')}</pre>
      </div>
    </details>
  )
}
