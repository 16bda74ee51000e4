/** @jsxImportSource hono/jsx */
import type { ClusterPolicy, MemberStatus } from '../cluster-view.ts'
import { ConfirmationPage } from './confirm.tsx'
import { DangerLink } from './danger.tsx'
import { Failure } from './failure.tsx'
import type { Frame } from './layout.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Countdown } from './time.tsx'
import { age, count, seconds } from './words.ts'

/** A node of the cluster as this one sees it. */
export type MemberCard = Pick<
  MemberStatus,
  'id' | 'name' | 'url' | 'state' | 'roundTripMs' | 'behind' | 'version' | 'heardAt'
>

/** All of them, and what this one may. */
export interface MembersCard {
  members: MemberCard[]
  /** Facts that others have and this node has not. */
  behind: number
  serving: boolean
  /** When this node's lease runs out if nobody renews it; null where it needs none. */
  leaseEndsAt: string | null
  mayManage: boolean
  now: number
}

const STATES: Record<MemberStatus['state'], { style: string; text: string }> = {
  self: { style: 'active', text: 'this node' },
  linked: { style: 'reachable', text: 'linked' },
  unreachable: { style: 'unreachable', text: 'unreachable' },
  joining: { style: 'expired', text: 'joining' },
}

const Missing = ({ children }: { children: string }) => <span class="quiet">{children}</span>

/** Digests come four times a second: what is younger than this is now. */
const NOW_MS = 2_000

const Heard = ({ member: { state, heardAt }, now }: { member: MemberCard; now: number }) => {
  if (state === 'self') return <Missing>–</Missing>
  if (heardAt === null) return <Missing>not since this node started</Missing>
  return <>{now - heardAt < NOW_MS ? 'now' : `${age(now - heardAt)} ago`}</>
}

const Behind = ({ member: { state, behind } }: { member: MemberCard }) => {
  if (state === 'self') return <Missing>–</Missing>
  if (behind === null) return <Missing>not told</Missing>
  return <>{behind === 0 ? 'nothing' : count(behind, 'change')}</>
}

const Lease = ({ card: { serving, leaseEndsAt, now } }: { card: MembersCard }) => {
  if (!serving) return <span class="detail">lets nobody in</span>
  if (leaseEndsAt === null) return null
  return (
    <span class="detail">
      lease left <Countdown until={leaseEndsAt} now={now} />
    </span>
  )
}

const Line = ({ member, card }: { member: MemberCard; card: MembersCard }) => {
  const { id, name, url, state, roundTripMs, version } = member
  const { style, text } = state === 'self' && !card.serving ? { style: 'closed', text: 'this node' } : STATES[state]
  return (
    <Row id={`member-${id}`}>
      <HeadCell label="Node">
        <bdi>{name}</bdi>
        <span class="detail mono">{url}</span>
      </HeadCell>
      <Cell label="Link">
        <span class={`status ${style}`}>{text}</span>
        {state === 'self' && <Lease card={card} />}
      </Cell>
      <Cell label="Heard from">
        <Heard member={member} now={card.now} />
      </Cell>
      <Cell label="Round trip" kind="number">
        {roundTripMs === null || state === 'unreachable' ? <Missing>–</Missing> : `${roundTripMs.toFixed(1)} ms`}
      </Cell>
      <Cell label="Lacks" kind="number">
        <Behind member={member} />
      </Cell>
      <Cell label="Version">{version ?? <Missing>not told</Missing>}</Cell>
      {card.mayManage && (
        <Cell label="" kind="action">
          <DangerLink
            id={`remove-${id}`}
            href={`/cluster/members/${encodeURIComponent(id)}/removal`}
            label={state === 'self' ? 'Leave the cluster' : `Remove ${name}`}
          >
            {state === 'self' ? 'Leave' : 'Remove'}
          </DangerLink>
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Node', 'Link', 'Heard from', 'Round trip', 'Lacks', 'Version']

export const Members = (card: MembersCard) => {
  const { members, behind, mayManage } = card
  return (
    <section aria-labelledby="members-title">
      <h2 id="members-title">{count(members.length, 'node')}</h2>
      <Table labelledBy="members-title" columns={mayManage ? [...COLUMNS, 'Removal'] : COLUMNS}>
        {members.map((member) => (
          <Line member={member} card={card} />
        ))}
      </Table>
      <p class="hint">
        {behind === 0
          ? 'This node has every change that it has heard of.'
          : `This node lacks ${count(behind, 'change')} that the others have, and is fetching ${behind === 1 ? 'it' : 'them'}.`}{' '}
        Another one lacks what this node has and the other has not said to have.
      </p>
    </section>
  )
}

/** What it means that this node goes. */
const Consequence = ({ member: { name, state }, policy, leaseMs }: MeaningProps) => {
  if (state === 'self')
    return (
      <>
        <p>
          <strong>This node leaves its cluster.</strong> It lets nobody in any more and cuts its connections. The others
          go on without it.
        </p>
        <p>Its data folder stays as it is. To join again it needs an empty one and a ticket.</p>
      </>
    )
  if (state !== 'unreachable')
    return (
      <>
        <p>
          <strong>
            <bdi>{name}</bdi>
          </strong>{' '}
          leaves the cluster: it lets nobody in any more, and its connections are cut. Clients have to come to another
          node.
        </p>
        <p>The secret between the nodes is replaced, so that it can't read along. To join again it needs a ticket.</p>
      </>
    )
  return (
    <>
      <p>
        <strong>
          <bdi>{name}</bdi> can't be reached,
        </strong>{' '}
        so it can't be told.{' '}
        {policy === 'lease'
          ? `Under the policy lease it lets nobody in any more once its lease of ${seconds(leaseMs)} has run out; revocations wait for that, then count without it.`
          : 'Under the policy serve it may go on letting clients in, with tokens that are revoked here.'}
      </p>
      <p>
        {policy === 'lease'
          ? 'A majority of the nodes has to agree. The secret between them is replaced.'
          : 'So it is removed only by force, and then no revocation counts as complete until you say here that it is off.'}
      </p>
    </>
  )
}

interface MeaningProps {
  member: MemberCard
  policy: ClusterPolicy
  leaseMs: number
}

/** What force does, in the words of what it costs. */
const Force = ({ checked }: { checked: boolean }) => (
  <div class="option">
    <label class="check">
      <input type="checkbox" name="force" value="yes" checked={checked} />
      By force
    </label>
    <p class="hint">
      Without a majority, and though it may go on letting clients in. Nothing counts as complete until it is off.
    </p>
  </div>
)

/** A name may be another's too; an id is not. */
const Which = ({ id, name }: { id: string; name: string }) => (
  <p class="hint">
    Node <bdi class="mono">{name}</bdi>, <span class="mono">{id}</span>
  </p>
)

type RemovalProps = MeaningProps & { frame: Frame; force: boolean; failure: string | null }

export const MemberRemovalPage = ({ frame, force, failure, ...meaning }: RemovalProps) => {
  const { id, name, state } = meaning.member
  const isSelf = state === 'self'
  return (
    <ConfirmationPage
      frame={frame}
      title={isSelf ? 'Leave the cluster?' : 'Remove this node?'}
      action={`/cluster/members/${encodeURIComponent(id)}/removal`}
      verb={isSelf ? 'Leave the cluster' : 'Remove it'}
      back="/cluster"
      doomed={<Consequence {...meaning} />}
    >
      <Failure text={failure} />
      <Which id={id} name={name} />
      {!isSelf && <Force checked={force} />}
    </ConfirmationPage>
  )
}

type OffProps = { frame: Frame; gone: { id: string; name: string }; failure: string | null }

/** The one thing that the cluster must be told, because no node can know it. */
export const OffPage = ({ frame, gone: { id, name }, failure }: OffProps) => (
  <ConfirmationPage
    frame={frame}
    title="Is it off, for good?"
    action={`/cluster/removed/${encodeURIComponent(id)}/off`}
    verb="It is off"
    back="/cluster"
    doomed={
      <>
        <p>
          <strong>
            <bdi>{name}</bdi>
          </strong>{' '}
          is no member any more, but could not be asked to stop. Say this only if its process has ended and does not
          start again: the machine is off, or its data folder is gone.
        </p>
        <p>
          Revocations then count as complete without it. If it runs after all, it lets revoked tokens in, and no receipt
          says so.
        </p>
      </>
    }
  >
    <Failure text={failure} />
    <Which id={id} name={name} />
  </ConfirmationPage>
)
