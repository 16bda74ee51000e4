import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ErrorKind } from '../../../src/error.ts'
import {
  headerMismatch,
  notStartable,
  policyUnreadable,
  problemOf,
  problemOfCut,
  type Problem,
  problems,
  rateLimited,
  serverElsewhere,
} from '../../../src/gate/problem.ts'
import { tooManyCalls } from '../../../src/gate/stdio/answer.ts'
import { limits } from '../../../src/limits.ts'
import { CUT_MESSAGES, type CutCause } from '../../../src/registry.ts'
import { STATUS } from '../../../src/server/errors.ts'
import type { Denial } from '../../../src/token.ts'
import { cell, code, page, table } from './markdown.ts'

const DENIALS: Record<Denial, true> = {
  token_revoked: true,
  token_expired: true,
  secret_rotated: true,
  server_unknown: true,
  scope: true,
  server_closed: true,
  not_synced: true,
  node_stale: true,
}

const TOO_MANY: Problem = {
  status: 503,
  slug: 'too-many-connections',
  title: '',
  detail: 'The token, or the node, holds open as many connections as it may.',
}

const gateProblems = (): Problem[] => [
  ...Object.values<Problem>(problems),
  ...Object.keys(DENIALS).map((denial) => problemOf(denial as Denial)),
  ...Object.keys(CUT_MESSAGES).map((cause) => problemOfCut(cause as CutCause)),
  policyUnreadable('…'),
  serverElsewhere('a'),
  rateLimited(60, 1),
  headerMismatch(1),
  notStartable('The server can not be started; whoever runs this gate finds the reason in its console.'),
  tooManyCalls(limits.rpcIdsMax),
  TOO_MANY,
]

/** One row for each slug and status: what differs in the words only is the same to a program. */
const gateRows = (): string[][] => {
  const rows = new Map<string, string[]>()
  for (const { status, slug, detail } of gateProblems().toSorted((a, b) => a.status - b.status)) {
    const key = `${status} ${slug}`
    if (!rows.has(key)) rows.set(key, [String(status), code(slug), cell(detail)])
  }
  return [...rows.values()]
}

const KINDS: Record<ErrorKind, string> = {
  invalid: 'Something in the request is wrong; `detail` says what to do.',
  unauthenticated: 'No API key and no session, or one that is no good.',
  forbidden: 'The role does not allow it.',
  not_found: 'There is nothing of that name or id.',
  conflict: 'It does not go with what is there, such as a name that is taken.',
  mismatch: 'An `Idempotency-Key` that was used with another request.',
  too_large: 'The body is too large.',
  too_many: 'Too many at once, or too many tries; wait.',
  unavailable: 'It can not be done now.',
  storage: 'The database can not be written.',
}

const OWN: string[][] = [
  ['403', code('cross-site'), 'A write with a session that does not come from a page of the console.'],
  ['421', code('misdirected-request'), 'The `Host` is not one of the console’s; add it with `--allow-host`.'],
  ['422', code('idempotency-mismatch'), KINDS.mismatch],
  ['500', code('internal-error'), 'A defect; the log says more.'],
  [
    '507',
    '(none)',
    'A revocation, a kill or a closing that is in force but not in the database yet: its usual answer, with `"durable": false`.',
  ],
]

/** The slugs that are spelt out beside the kinds, to notice a new one. */
export const slugsInConsole = (): string[] => {
  const folder = join(import.meta.dir, '../../../src/server')
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => /\.tsx?$/.test(file))
  const text = files.map((file) => readFileSync(join(folder, file), 'utf8')).join('\n')
  const spelt = [...text.matchAll(/(?:problem\(|\[)\d{3}, '([a-z-]+)'|new AppError\('\w+', .*, '([a-z-]+)'\)/g)]
  return [...new Set(spelt.map(([, inProblem, inError]) => (inProblem ?? inError) as string))]
}

export const errors = (): string => {
  const rows = Object.entries(STATUS)
    .filter(([kind]) => kind !== 'mismatch')
    .map(([kind, status]) => [String(status), code(kind.replace('_', '-')), KINDS[kind as ErrorKind]])
  const all = [...rows, ...OWN].toSorted(([a = ''], [b = '']) => (a < b ? -1 : a > b ? 1 : 0))
  return page(
    'Errors',
    'What Portcullis itself refuses is answered as problem details (RFC 9457), `application/problem+json`. Programs go by the end\n' +
      'of `type`, after `urn:portcullis:problem:`; `detail` is for people.',
    '## Of the gate',
    table(['status', 'type', 'what it says'], gateRows()),
    'What a server behind the gate answers passes as it is, but for its 401.',
    '## The end of a stream',
    'A cut comes after a whole event. Event streams get `event: disconnect` and this, as `{"error":{"type":…,"message":…}}`; the\n' +
      'answer to a call of MCP gets a JSON-RPC error with code -32080, and the type in its `data`. Other answers break off.',
    table(
      ['type', 'message'],
      Object.entries(CUT_MESSAGES).map(([type, message]) => [code(type), message]),
    ),
    'A call that the policy of a token refuses is answered by a JSON-RPC error with code -32081. A call in flight at a\n' +
      '[server that is a command](../stdio.md), when its process ends by itself: -32082, how it ended in the message, and the type\n' +
      '`server_exited` in its `data`.',
    '## Of the console and the API',
    table(['status', 'type', 'what it means'], all),
  )
}
