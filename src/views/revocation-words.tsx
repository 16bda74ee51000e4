/** @jsxImportSource hono/jsx */
import { Time } from './time.tsx'
import { count } from './words.ts'

/** A piece of a sentence: words of our own, a name that somebody gave, or a point in time. */
export type Piece = string | { name: string } | { at: string }

export const Words = ({ of }: { of: Piece[] }) => (
  <>
    {of.map((piece) => {
      if (typeof piece === 'string') return piece
      return 'at' in piece ? <Time at={piece.at} exact /> : <bdi>{piece.name}</bdi>
    })}
  </>
)

const utc = (at: string): string => `${at.slice(0, 19).replace('T', ' ')} UTC`

/** The same where no element can stand, such as the title of a page. */
export const asText = (pieces: Piece[]): string =>
  pieces.map((piece) => (typeof piece === 'string' ? piece : 'at' in piece ? utc(piece.at) : piece.name)).join('')

export interface SelectorCard {
  /** How many tokens were named one by one; null: none was. */
  named: number | null
  subject: string | null
  group: string | null
  /** Its name, or its id where it is gone. */
  server: string | null
  issuedBefore: string | null
  all: boolean
}

export interface Owned {
  name: string
  subject: string | null
}

export const owned = ({ name, subject }: Owned): Piece[] =>
  subject === null ? [{ name }] : [{ name }, ' of ', { name: subject }]

const isEverything = ({ all, named, subject, group, server, issuedBefore }: SelectorCard): boolean =>
  all && [named, subject, group, server, issuedBefore].every((part) => part === null)

/** Tokens as a person would call them: `3 tokens of dev@example.com`, or the one by its name. */
export const tokensWords = (n: number, only: Owned | undefined, selector: SelectorCard): Piece[] => {
  if (n === 1 && only) return owned(only)
  const { subject, group, server, issuedBefore } = selector
  const words: Piece[] = [`${isEverything(selector) ? 'all ' : ''}${count(n, 'token')}`]
  if (subject !== null) words.push(' of ', { name: subject })
  if (group !== null) words.push(subject === null ? ' of the group ' : ' in the group ', { name: group })
  if (server !== null) words.push(' for the server ', { name: server })
  if (issuedBefore !== null) words.push(' issued before ', { at: issuedBefore })
  return words
}

/** How they were chosen, whatever it matched. */
export const selectorWords = (selector: SelectorCard): Piece[] => {
  const { named, subject, group, server, issuedBefore } = selector
  if (isEverything(selector)) return ['every token']
  const parts: Piece[][] = []
  if (named !== null) parts.push([named === 1 ? 'this token alone' : `${count(named, 'token')}, one by one`])
  if (subject !== null) parts.push(['subject ', { name: subject }])
  if (group !== null) parts.push(['group ', { name: group }])
  if (server !== null) parts.push(['server ', { name: server }])
  if (issuedBefore !== null) parts.push(['issued before ', { at: issuedBefore }])
  return parts.flatMap((part, index) => (index === 0 ? part : [' and ', ...part]))
}
