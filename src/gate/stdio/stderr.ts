import type { Limits } from '../../limits.ts'
import { redact } from '../../secret.ts'
import type { StderrLine } from '../../stdio.ts'
import { plain } from '../../text.ts'
import type { Clock, Stopwatch } from '../../time.ts'

const BEARER = /\bBearer\s+\S+/gi

// What colours a terminal is noise in a log: ECMA-48 §5.4 (CSI), and titles of windows.
// oxlint-disable-next-line no-control-regex
const ANSI = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\))/g

/** Shorter values are words like "on" and "80", which would leave no line readable. */
const VALUE_LENGTH_MIN = 4

/** How a value may stand in a line: as it is, each of its own lines, in JSON, in a URL; the longest first. */
const spellingsOf = (env: readonly (readonly [string, string])[]): string[] => {
  const texts = env.flatMap(([, value]) => [value, ...value.split(/\r?\n/)].map((text) => text.trim()))
  const spelt = texts.flatMap((text) => [text, JSON.stringify(text).slice(1, -1), encodeURIComponent(wellFormed(text))])
  return [...new Set(spelt)].filter((text) => text.length >= VALUE_LENGTH_MIN).toSorted((a, b) => b.length - a.length)
}

/** Half a character can't be encoded, and throws. */
const wellFormed = (text: string): string => text.replace(/\p{Cs}/gu, '')

/** Where the end of a cut line begins that may be the beginning of a secret. */
const beginningOf = (line: string, secret: string): number => {
  for (let length = Math.min(secret.length - 1, line.length); length >= VALUE_LENGTH_MIN; length--)
    if (line.endsWith(secret.slice(0, length))) return line.length - length
  return line.length
}

/** Takes out what must stand in no log: our own secrets, values of the environment, what follows `Bearer`. */
export class Redaction {
  readonly #spellings: string[]

  constructor(env: readonly (readonly [string, string])[]) {
    this.#spellings = spellingsOf(env)
  }

  of(line: string): string {
    let text = redact(line)
    for (const secret of this.#spellings) text = text.replaceAll(secret, '***')
    return text.replace(BEARER, 'Bearer ***')
  }

  /** The same of the beginning of a line, which may end in the midst of a secret. */
  ofBeginning(line: string): string {
    const end = Math.min(...this.#spellings.map((secret) => beginningOf(line, secret)), line.length)
    return this.of(line.slice(0, end)).replace(/pc[la]_[0-9A-Za-z]*$/, '')
  }
}

export interface StderrDeps {
  limits: Limits
  now: Clock
  stopwatch: Stopwatch
  /** To the log of the node. */
  write(line: string, pid: number): void
}

/** What the processes of one server say on their standard error: the last lines kept, some of them to the log. */
export class StderrLog {
  /** As they came, up to what is read of one; most of a flood is never looked at. */
  readonly #lines: { at: number; text: string; redaction: Redaction }[] = []
  #redaction = new Redaction([])
  #allowance: number
  #countedAt: number
  #leftOut = 0

  constructor(readonly deps: StderrDeps) {
    this.#allowance = deps.limits.stdioStderrBurst
    this.#countedAt = deps.stopwatch()
  }

  /** Values that from now on stand in no line. Those of lines before stay out too. */
  hide(env: readonly (readonly [string, string])[]): void {
    this.#redaction = new Redaction(env)
  }

  line(text: string, pid: number): void {
    const { limits, now, write } = this.deps
    // More than is shown of it, since what is taken out makes it shorter.
    const kept = { at: now(), text: text.slice(0, limits.stdioStderrLineLengthMax * 4), redaction: this.#redaction }
    this.#lines.push(kept)
    // Not one by one: each would move all the others.
    if (this.#lines.length >= limits.stdioStderrTailMax * 2) this.#lines.splice(0, limits.stdioStderrTailMax)
    if (!this.#mayWrite()) {
      this.#leftOut += 1
      return
    }
    if (this.#leftOut > 0) write(`(${this.#leftOut} lines were left out: too many at once)`, pid)
    this.#leftOut = 0
    write(this.#shown(kept), pid)
  }

  /** The last lines, the oldest first. */
  get tail(): readonly StderrLine[] {
    return this.#lines
      .slice(-this.deps.limits.stdioStderrTailMax)
      .map((kept) => ({ at: kept.at, line: this.#shown(kept) }))
  }

  #shown({ text, redaction }: { text: string; redaction: Redaction }): string {
    const { stdioStderrLineLengthMax: max } = this.deps.limits
    const bare = text.replace(ANSI, '').replaceAll('\t', '  ').trimEnd()
    const line = plain(text.length >= max * 4 ? redaction.ofBeginning(bare) : redaction.of(bare))
    return line.length > max ? `${line.slice(0, max - 1)}…` : line
  }

  #mayWrite(): boolean {
    const { limits, stopwatch } = this.deps
    const at = stopwatch()
    const earned = ((at - this.#countedAt) / 1_000) * limits.stdioStderrLinesPerSecond
    this.#allowance = Math.min(limits.stdioStderrBurst, this.#allowance + earned)
    this.#countedAt = at
    if (this.#allowance < 1) return false
    this.#allowance -= 1
    return true
  }
}
