import { invalid } from '../../error.ts'
import { limits } from '../../limits.ts'

/** One word, or what stands between two; then what is left of it by kinds of quotes. */
const TOKEN = /\s+|(?:'[^']*'|"(?:[^"\\]|\\.)*"|\\.|[^\s'"\\])+/gsu
const PART = /'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)/gsu

/**
 * The words of a line as it stands in a README, quotes taken off. No shell will read it, so that what only a shell
 * understands is refused. Throws `invalid`, without a word of it.
 */
const wordsOf = (line: string): string[] => {
  const tokens = line.match(TOKEN) ?? []
  if (tokens.join('') !== line) throw invalid('a quote, or what follows a backslash, is missing')
  const words = tokens.filter((token) => token.trim() !== '')
  if (/^[A-Za-z_]\w*=/.test(words[0] ?? '')) throw invalid('NAME=VALUE before the program belongs into the environment')
  return words.map(unquoted)
}

const unquoted = (token: string): string =>
  token.replaceAll(PART, (_, single?: string, double?: string, escape?: string, bare?: string) => {
    if ((bare ?? '').match(/[|&;<>$`]/) || (double ?? '').match(/[$`]/))
      throw invalid(
        'no shell reads the command: pipes, redirections, variables and & stay what they are in quotes only',
      )
    return single ?? double?.replaceAll(/\\(["\\$`])/g, '$1') ?? escape ?? bare ?? ''
  })

/** A line that a shell takes on in the next one. */
const CONTINUED = /\\(?:\r\n?|\n)/g

const linesOf = (text: string): string[] =>
  text
    .split(/\r\n?|\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '')

/**
 * A command as it is typed: one argument a line, exactly; a single line is taken apart at its spaces. What no line can
 * hold (a line break, spaces around it, nothing at all) stands in a list as JSON writes it.
 */
export const commandIn = (typed: string): string[] => {
  // Room for what JSON escapes; the command itself is measured where it is checked.
  if (typed.length > 8 * limits.stdioCommandLengthMax)
    throw invalid(`the command is longer than ${limits.stdioCommandLengthMax} characters`)
  const text = typed.replaceAll(CONTINUED, ' ')
  if (text.trim().startsWith('[')) return listIn(text)
  const lines = linesOf(text)
  const [only] = lines
  return lines.length === 1 && only !== undefined ? wordsOf(only) : lines
}

const listIn = (text: string): string[] => {
  const wrong = invalid('what begins with [ must be a list as JSON writes it, such as ["npx", "-y", "a server"]')
  try {
    const list: unknown = JSON.parse(text)
    if (Array.isArray(list) && list.every((argument) => typeof argument === 'string')) return list
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw wrong
}

const isSame = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((argument, index) => argument === b[index])

/** What `commandIn` takes for that command, as easy to read as it goes. */
export const commandText = (argv: readonly string[]): string => {
  const text = argv.join('\n')
  const isWord = argv.length === 1 && /^[\w@%+:,./-]+$/.test(text)
  const isExact =
    argv.length > 1 && !text.trim().startsWith('[') && isSame(linesOf(text.replaceAll(CONTINUED, ' ')), argv)
  return isWord || isExact ? text : JSON.stringify(argv)
}
