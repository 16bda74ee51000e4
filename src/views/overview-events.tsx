/** @jsxImportSource hono/jsx */
import { isOwn, verbOf, whoOf } from './deeds.ts'
import { Empty } from './empty.tsx'
import { Time } from './time.tsx'
import { count, number, spaced } from './words.ts'

/** Rows of the audit log that say the same of the same, as one. */
export interface EventCard {
  /** Of the newest of them. */
  sequence: number
  at: string
  actor: string
  /** The name of the node that did it, where that is another. */
  on: string | null
  action: string
  target: string | null
  reason: string | null
  /** How often, where strangers did it; or how many, where one row is about more than one. */
  times: number
  isFolded: boolean
}

const whatOf = ({ action, target, times, isFolded }: EventCard): string | null => {
  if (isOwn(action)) return null
  if (action === 'token.revoke' && !isFolded && times > 1) return count(times, 'token')
  return target ?? (action === 'operator.link' ? 'the first owner' : null)
}

const Sentence = ({ event }: { event: EventCard }) => {
  const { actor, on, action, reason, times, isFolded } = event
  const what = whatOf(event)
  return (
    <>
      <bdi>{whoOf(actor, on)}</bdi> {verbOf(action)}
      {what !== null && (
        <>
          {' '}
          <bdi class="what">{what}</bdi>
        </>
      )}
      {isFolded && times > 1 && `, ${number(times)} times`}
      {reason !== null && (
        <span class="quiet">
          : <bdi>{spaced(reason)}</bdi>
        </span>
      )}
    </>
  )
}

export const Events = ({ events }: { events: EventCard[] }) => (
  <section aria-labelledby="events-title">
    <div class="heading">
      <h2 id="events-title">Last events</h2>
      <a href="/audit">Audit log</a>
    </div>
    {events.length === 0 ? (
      <Empty title="Nothing has happened yet">
        <p>Every change, and what strangers try, is a row in the audit log.</p>
      </Empty>
    ) : (
      <ol class="lines">
        {events.map((event) => (
          <li id={`event-${event.sequence}`}>
            <a href={`/audit/${event.sequence}`}>
              <span>
                <Sentence event={event} />
              </span>
              <Time at={event.at} />
            </a>
          </li>
        ))}
      </ol>
    )}
  </section>
)
