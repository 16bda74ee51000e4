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
  /** The name of the node that did it, where that is another; null: this one. */
  on: string | null
  /** The page of what it was done to, while there is one. */
  href: string | null
  /** The receipt of what it revoked. */
  receipt: string | null
}

/** What came in while this node was away is one row for each node: how many changes of which. */
const caughtUp = ({ on, targetId, details }: AuditEventCard): string =>
  `${count(Number(details['count'] ?? 0), 'change')} of ${on ?? targetId}`

const Target = ({ event }: { event: AuditEventCard }) => {
  const { action, targetId, targetName, details, href } = event
  const dead = action === 'token.revoke' && targetName === null ? details['count'] : undefined
  const first = action === 'operator.link' ? 'the first owner' : null
  const named = action === CATCH_UP ? caughtUp(event) : (targetName ?? targetId ?? first)
  const text = typeof dead === 'number' ? count(dead, 'token') : named
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

const CATCH_UP = 'cluster.catch-up'

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
  const { actor, action, reason, details, href, receipt, on } = event
  const note = details['note']
  return (
    <>
      <bdi class="who">{whoOf(actor, on)}</bdi> {verbOf(action)}
      <Target event={event} />
      {timesOf(event)}
      {verdictOf(event)}
      {reason !== null && (
        <>
          {': '}
          <bdi>{spaced(reason)}</bdi>
        </>
      )}
      {on !== null && action !== CATCH_UP && (
        <span class="quiet">
          {' · on node '}
          <bdi>{on}</bdi>
        </span>
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
