import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { VERBS } from '../../../src/views/deeds.ts'
import { cell, code, page, table } from './markdown.ts'

const SOURCES = join(import.meta.dir, '../../../src')
const NOUNS = ['apikey', 'connection', 'gate', 'key', 'node', 'operator', 'server', 'token']

/** Kinds of facts that look like actions: what they tell is logged by another name. */
const FACTS = new Set(['key.add', 'server.stdio'])

/** Every action that is spelt out somewhere in the code, so that none is forgotten. */
export const actionsInCode = (): string[] => {
  const found = new Set<string>()
  for (const file of readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })) {
    if (!/\.tsx?$/.test(file)) continue
    const text = readFileSync(join(SOURCES, file), 'utf8')
    for (const [, action] of text.matchAll(new RegExp(`'((?:${NOUNS.join('|')})\\.[a-z-]+)'`, 'g'))) {
      if (action && !/\.(put|ts)$/.test(action) && !FACTS.has(action)) found.add(action)
    }
  }
  return [...found].toSorted()
}

const FIELDS: [name: string, what: string][] = [
  ['sequence', 'Counts from 1 without a gap.'],
  ['time', 'When, RFC 3339, UTC.'],
  ['node', 'The id of the node that wrote it.'],
  [
    'actor',
    '`operator:NAME`, `apikey:NAME`, `local:UID` (the command line, as it states itself), `address:IP` (a stranger) or `system`.',
  ],
  ['action', 'One of those above.'],
  ['targetId, targetName', 'What it was done to.'],
  ['reason', 'Of a revocation, or of closing a server.'],
  ['details', 'What else is to know: a JSON object that depends on the action. It holds no secret.'],
  ['previousHash', 'The hash of the row before; of the first row, 64 zeros.'],
  [
    'hash',
    'SHA-256, in hexadecimal, over the JSON list of the fields above in this order, as one line without spaces: the time in milliseconds since 1970, the two parts of the target each as a field, `details` as a string that holds its JSON.',
  ],
]

export const audit = (): string =>
  page(
    'The audit log',
    'Every change is one row, written in the transaction that makes the change. What strangers cause (`gate.…`, `….refused`,\n' +
      '`…-failed`) is folded into one row a minute and source, with a count.',
    table(
      ['action', 'who did it …'],
      Object.entries(VERBS)
        .toSorted(([a], [b]) => (a < b ? -1 : 1))
        .map(([action, verb]) => [code(action), `… ${cell(verb)} …`]),
    ),
    '## A row',
    table(
      ['field', 'what it is'],
      FIELDS.map(([name, what]) => [code(name), what]),
    ),
    '`portcullis audit verify` checks that no row was changed, taken out or put in; a [checkpoint](commands.md#portcullis-audit-checkpoint)\n' +
      'that was kept elsewhere, that none was cut off at the end.',
  )
