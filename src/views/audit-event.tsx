/** @jsxImportSource hono/jsx */
import { isOwn, verbOf, whoOf } from './deeds.ts'
import { count, number, spaced } from './words.ts'

/** A row of the audit log, as the API tells it; and where its parts have a page. */
export interface AuditEventCard {
  sequence: number
  time: string
  actor: string
  action: string
  targetId: string | null
  targetName: string | null
  reason: string | null
  details: Record<string, unknown>
  /** The page of what it was done to, while there is one. */
  href: string | null
  /** The receipt of what it revoked. */
  receipt: string | null
}

const Target = ({ event: { action, targetId, targetName, details, href } }: { event: AuditEventCard }) => {
  const dead = action === 'token.revoke' && targetName === null ? details['count'] : undefined
  const first = action === 'operator.link' ? 'the first owner' : null
  const text = typeof dead === 'number' ? count(dead, 'token') : (targetName ?? targetId ?? first)
  if (text === null || isOwn(action)) return null
  return (
    <>
      {' '}
      {href === null ? (
        <bdi class="what">{text}</bdi>
      ) : (
        <a href={href}>
          <bdi class="what">{text}</bdi>
        </a>
      )}
    </>
  )
}

/** How often a stranger did it: such rows are one a minute and source. */
const timesOf = ({ details }: AuditEventCard): string => {
  const times = details['count']
  return typeof times === 'number' && times > 1 && 'firstAt' in details ? `, ${number(times)} times` : ''
}

/** What came of a test of a revocation; of the node's own tests one row tells of many. */
const verdictOf = ({ action, details }: AuditEventCard): string => {
  if (action !== 'node.selftest') return ''
  const { ok, step, runs, failures } = details
  const verdict = ok === true ? 'it does' : `it failed at "${String(step)}"`
  if (typeof runs !== 'number') return `: ${verdict}`
  const failed = Object.values(failures ?? {}).reduce((sum: number, times) => sum + Number(times), 0)
  return `: ${verdict}; since the last such row ${count(runs, 'test')}, ${number(failed)} failed`
}

/** What happened, as a sentence: "ada revoked Cursor IDE: compromised". */
export const Deed = ({ event }: { event: AuditEventCard }) => {
  const { actor, action, reason, details, href, receipt } = event
  const note = details['note']
  return (
    <>
      <bdi class="who">{whoOf(actor)}</bdi> {verbOf(action)}
      <Target event={event} />
      {timesOf(event)}
      {verdictOf(event)}
      {reason !== null && (
        <>
          {': '}
          <bdi>{spaced(reason)}</bdi>
        </>
      )}
      {receipt !== null && receipt !== href && (
        <>
          {' · '}
          <a href={receipt}>receipt</a>
        </>
      )}
      {typeof note === 'string' && note !== '' && (
        <span class="detail">
          <bdi>{note}</bdi>
        </span>
      )}
    </>
  )
}
