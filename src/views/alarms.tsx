/** @jsxImportSource hono/jsx */
import type { ClusterPolicy } from '../cluster-view.ts'
import { type Holdout, Holdouts } from './holdouts.tsx'
import { serverHref } from './server-cells.tsx'
import { Countdown } from './time.tsx'
import { count } from './words.ts'

/** What somebody has to know, whatever page they look at. */
export type Alarm =
  | { kind: 'removed' }
  | { kind: 'not-synced'; linked: number }
  | { kind: 'stale' }
  | { kind: 'isolated'; policy: ClusterPolicy; leaseEndsAt: string | null; now: number }
  | { kind: 'incomplete'; count: number; only: string | null; holdouts: Holdout[]; policy: ClusterPolicy; now: number }
  | { kind: 'crash-loop'; count: number; only: string | null }

const Words = ({ alarm }: { alarm: Alarm }) => {
  if (alarm.kind === 'removed')
    return (
      <>
        <strong>This node is no member of its cluster.</strong> It lets nobody in, and its connections are cut. After a
        restore the others take it in again by themselves, within a minute; if it was removed, stop it, or let it join
        again with an empty data folder.
      </>
    )
  if (alarm.kind === 'not-synced')
    return (
      <>
        <strong>This node lets nobody in yet:</strong> it does not know all that the other nodes know.{' '}
        {alarm.linked === 0
          ? 'It reaches none of them: look at the network between them.'
          : 'It is asking them, and serves by itself once it does.'}
      </>
    )
  if (alarm.kind === 'stale')
    return (
      <>
        <strong>This node lets nobody in:</strong> it hears from no majority of the nodes, so its lease ran out and its
        connections were cut. Clients get 503 here, and it serves again by itself once it reaches a majority.
      </>
    )
  if (alarm.kind === 'isolated')
    return (
      <>
        <strong>This node hears from no majority of the nodes.</strong>{' '}
        {alarm.policy === 'serve' ? (
          'Under the policy serve it goes on letting clients in: what is revoked elsewhere is not refused here, and what is revoked here is not refused elsewhere, until they hear of each other again.'
        ) : alarm.leaseEndsAt === null ? (
          'It lets nobody in until it does.'
        ) : (
          <>
            It lets clients in for another <Countdown until={alarm.leaseEndsAt} now={alarm.now} />, then nobody until it
            does.
          </>
        )}
      </>
    )
  if (alarm.kind === 'crash-loop')
    return (
      <>
        <strong>
          {alarm.only === null ? `${count(alarm.count, 'server')} are closed:` : `${alarm.only} is closed:`}
        </strong>{' '}
        {alarm.only === null ? 'their processes' : 'its processes'} ended by themselves again and again. Find out why,
        then open {alarm.only === null ? 'them' : 'it'}.
      </>
    )
  const isOne = alarm.count === 1
  return (
    <>
      <strong>
        {count(alarm.count, 'revocation')} {isOne ? 'is' : 'are'} not known to be complete:
      </strong>{' '}
      <Holdouts
        of={alarm.holdouts}
        what={isOne ? 'its tokens' : 'their tokens'}
        policy={alarm.policy}
        now={alarm.now}
      />
      .
    </>
  )
}

/** Where there is more of it: a single revocation has its receipt, but only on the page of the cluster a node is called off. */
const moreOf = (alarm: Alarm): { href: string; text: string } => {
  if (alarm.kind === 'crash-loop')
    return alarm.only === null
      ? { href: '/servers?show=closed', text: 'See them' }
      : { href: serverHref(alarm.only), text: 'See what it said' }
  return alarm.kind === 'incomplete' && alarm.only !== null && alarm.holdouts.every(({ why }) => why !== 'removed')
    ? { href: `/revocations/${alarm.only}`, text: 'See its receipt' }
    : { href: '/cluster', text: 'See the cluster' }
}

/** A receipt says by itself that it is not complete. */
const isSaid = (alarm: Alarm, pathname: string): boolean =>
  alarm.kind === 'incomplete' && pathname === `/revocations/${alarm.only}`

/** One sentence each, for somebody who was woken up; none where all is well. */
export const Alarms = ({ alarms, path }: { alarms: Alarm[]; path: string }) => {
  const [pathname = ''] = path.split('?')
  return (
    <>
      {alarms
        .filter((alarm) => !isSaid(alarm, pathname))
        .map((alarm) => {
          const { href, text } = moreOf(alarm)
          return (
            <p id={`alarm-${alarm.kind}`} class="banner alarm" role="status">
              <Words alarm={alarm} /> {href !== pathname && <a href={href}>{text}</a>}
            </p>
          )
        })}
    </>
  )
}
