import { createHash } from 'node:crypto'
import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'

/** The key under which it is kept what a form made: the id in it, and all that was typed, hashed. */
const keyOf = (fields: URLSearchParams): string =>
  `form ${createHash('sha256').update(fields.toString()).digest('base64')}`

/** The id of what this very form made, if it was sent before. */
export const madeBefore = (node: Node, actor: Actor, fields: URLSearchParams): string | null =>
  node.answers.find(actor.name, keyOf(fields))?.response ?? null

/** Remembers what a form made. It is made already: when this fails, the log hears of it. */
export const keepMade = (node: Node, actor: Actor, fields: URLSearchParams, id: string, location: string): void => {
  const key = keyOf(fields)
  try {
    node.answers.keep(actor.name, key, { request: key, status: 201, response: id, location })
  } catch (error) {
    node.log.warn({ err: error }, 'what a form made could not be kept: sent again, it makes another')
  }
}
