import { AppError, invalid } from '../../error.ts'
import type { AuditFilter, Node } from '../../node.ts'
import { holdsSecret } from '../../secret.ts'
import { formatTimeOrNull, parseDuration, parseSince, parseTime } from '../../time.ts'
import type { AuditFailures, AuditFilterCard, AuditTyped } from '../../views/audit-filter.tsx'
import { sentenceOf } from './failure.tsx'

const FIELDS = ['actor', 'action', 'target', 'since', 'until'] as const

/** `2026-12-31 18:00` without a zone: the page says that it is UTC. */
const ZONELESS = /^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2})?$/
const inUtc = (text: string): string => (ZONELESS.test(text) ? `${text}Z` : text)

const until = (text: string, now: number): number =>
  /^\d+[a-z]+$/i.test(text) ? now - parseDuration(text, 'until') : parseTime(inUtc(text), 'until')

/** What the address asks for; or, for each field that is wrong, why. */
export const auditFilterOf = (node: Node, query: URLSearchParams): { filter: AuditFilter; card: AuditFilterCard } => {
  const now = node.now()
  const { textLengthMax } = node.limits
  const typed = Object.fromEntries(FIELDS.map((name) => [name, query.get(name)?.trim() ?? ''])) as Record<
    keyof AuditTyped,
    string
  >
  const failures: AuditFailures = {}
  const filter: AuditFilter = {}
  const read = <K extends keyof AuditTyped>(field: K, parse: (text: string) => AuditFilter[K]) => {
    const text = typed[field]
    if (text === '') return
    try {
      if (holdsSecret(text)) {
        typed[field] = ''
        throw invalid('a secret is in no row: paste it under "Find and kill"')
      }
      if (text.length > textLengthMax) {
        // It stands in every link of the page, and nothing is called so.
        typed[field] = ''
        throw invalid(`longer than ${textLengthMax} characters: nothing is called so`)
      }
      filter[field] = parse(text)
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      // Beside a field, its name need not be said again.
      failures[field] = sentenceOf(new AppError(error.kind, error.message.replace(/^\w+: /, ''))).sentence
    }
  }
  read('actor', (text) => text)
  read('action', (text) => text)
  read('target', (text) => text)
  read('since', (text) => parseSince(inUtc(text), now))
  read('until', (text) => until(text, now))
  const card = {
    typed,
    failures,
    since: formatTimeOrNull(filter.since ?? null),
    until: formatTimeOrNull(filter.until ?? null),
    actors: node.reads.auditActors(),
    actions: node.reads.auditActions(),
    textLengthMax,
  }
  return { filter, card }
}
