/** @jsxImportSource hono/jsx */
import type { ClusterPolicy, ClusterStatus } from '../cluster-view.ts'
import { Members, type MembersCard } from './cluster-members.tsx'
import { DangerLink } from './danger.tsx'
import { Fact } from './fact.tsx'
import { type Holdout, Holdouts } from './holdouts.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { type Piece, Words } from './revocation-words.tsx'
import { Time } from './time.tsx'
import { count, number, seconds } from './words.ts'

/** A revocation that some node may not know of yet. */
export interface IncompleteLine {
  id: string
  what: Piece[]
  at: string | null
  /** What its nodes may let in: `the token` or `its tokens`. */
  doomed: string
  holdouts: Holdout[]
}

export interface ClusterCard extends MembersCard {
  id: string
  node: { id: string; name: string }
  transport: ClusterStatus['transport']
  policy: ClusterPolicy
  leaseMs: number
  void: ClusterStatus['void']
  changing: string | null
  incomplete: IncompleteLine[]
  incompleteCount: number
  /** What is not well, in a word; null: all is. */
  wrong: string | null
}

const State = ({ card: { wrong, members, incompleteCount } }: { card: ClusterCard }) => (
  <div class={wrong === null ? 'state' : 'state wrong'}>
    <p>
      <strong id="state" role="status">
        {wrong ?? 'All is well'}
      </strong>
      {wrong === null &&
        `: ${members.length === 1 ? 'no other node has joined yet' : `this node is linked with ${members.length === 2 ? 'the other' : `all ${number(members.length - 1)} others`}`}, and ${incompleteCount === 0 ? 'every revocation is complete' : 'revocations are on their way'}`}
    </p>
  </div>
)

const Policy = ({ policy, leaseMs }: { policy: ClusterPolicy; leaseMs: number }) =>
  policy === 'lease' ? (
    <>
      lease of {seconds(leaseMs)}
      <span class="detail">
        A node lets clients in only while a majority of the nodes renews its lease. So a revocation is complete even if
        a node can't be reached, once that node's lease has run out.
      </span>
    </>
  ) : (
    <>
      serve
      <span class="detail">
        A node that is cut off goes on letting clients in. So a revocation is complete only when every node has it.
      </span>
    </>
  )

const Facts = ({ card }: { card: ClusterCard }) => (
  <section class="card" aria-labelledby="facts-title">
    <h2 id="facts-title">This node in it</h2>
    <dl>
      <Fact term="Name">
        <bdi>{card.node.name}</bdi>
        <span class="detail mono">{card.node.id}</span>
      </Fact>
      <Fact term="Policy">
        <Policy policy={card.policy} leaseMs={card.leaseMs} />
      </Fact>
      <Fact term="Links">{card.transport === 'nats' ? 'over NATS' : 'a WebSocket to each other node'}</Fact>
      <Fact term="Changing">{card.changing ?? <span class="quiet">nothing</span>}</Fact>
      <Fact term="Cluster">
        <code>{card.id}</code>
      </Fact>
    </dl>
  </section>
)

/** No members any more: nobody but a person can know that they are off. */
const Void = ({ removed, mayManage }: { removed: ClusterCard['void']; mayManage: boolean }) =>
  removed.length === 0 ? null : (
    <section aria-labelledby="void-title">
      <h2 id="void-title">Removed, and not known to be off</h2>
      <p class="hint">
        They could not be asked, and may still let revoked tokens in. No revocation counts as complete until each is
        off.
      </p>
      <ul class="lines">
        {removed.map(({ id, name, url }) => (
          <li id={`removed-${id}`}>
            <div>
              <span>
                <bdi class="what">{name}</bdi>
                <span class="detail mono">{url}</span>
              </span>
              {mayManage && (
                <DangerLink
                  id={`off-${id}`}
                  href={`/cluster/removed/${encodeURIComponent(id)}/off`}
                  label={`It is off: ${name}`}
                >
                  It is off
                </DangerLink>
              )}
            </div>
          </li>
        ))}
      </ul>
    </section>
  )

const Incomplete = ({ card: { incomplete, incompleteCount, policy, now } }: { card: ClusterCard }) =>
  incompleteCount === 0 ? null : (
    <section aria-labelledby="incomplete-title">
      <h2 id="incomplete-title">{count(incompleteCount, 'revocation')} not known to be complete</h2>
      <ul class="lines">
        {incomplete.map(({ id, what, at, doomed, holdouts }) => (
          <li id={`incomplete-${id}`}>
            <div>
              <span>
                <a class="what" href={`/revocations/${id}`}>
                  <Words of={what} />
                </a>
                <span class="detail">
                  <Holdouts of={holdouts} what={doomed} policy={policy} now={now} />
                </span>
              </span>
              {at !== null && <Time at={at} exact />}
            </div>
          </li>
        ))}
        {incompleteCount > incomplete.length && (
          <li>
            <div>
              <span class="quiet">and {number(incompleteCount - incomplete.length)} before these</span>
            </div>
          </li>
        )}
      </ul>
    </section>
  )

const AddLink = () => (
  <a class="button" id="add" href="/cluster/tickets/new">
    Add a node
  </a>
)

const Notice = ({ text }: { text: string | null }) =>
  text === null ? null : (
    <p class="notice" role="status">
      {text}
    </p>
  )

type ClusterProps = { frame: Frame; card: ClusterCard; notice: string | null }

export const ClusterPage = ({ frame, card, notice }: ClusterProps) => (
  <Layout title="Cluster" frame={frame} refreshed>
    <div class="heading">
      <h1>Cluster</h1>
      {card.mayManage && <AddLink />}
    </div>
    <Notice text={notice} />
    <Live frame={frame}>
      {frame.alarms.length === 0 && <State card={card} />}
      <Members {...card} />
      <Incomplete card={card} />
      <Void removed={card.void} mayManage={card.mayManage} />
      <Facts card={card} />
    </Live>
  </Layout>
)

type AloneProps = { frame: Frame; mayAdd: boolean; notice: string | null }

/** A node that is in no cluster: what one is for, and how it begins. */
export const AlonePage = ({ frame, mayAdd, notice }: AloneProps) => (
  <Layout title="Cluster" frame={frame} refreshed>
    <div class="heading">
      <h1>Cluster</h1>
      {mayAdd && <AddLink />}
    </div>
    <Notice text={notice} />
    <Live frame={frame}>
      <div class="empty">
        <p class="empty-title">This node stands alone</p>
        <p>
          In a cluster, what you revoke on one node is dead on all of them, and the receipt says when no node anywhere
          can let it in any more.
        </p>
        <p>
          To begin, run this node with <code>--cluster-listen HOST:PORT</code>, an address at which other nodes reach
          it.
        </p>
        <p>
          Then an owner adds a node here, or type <code>portcullis cluster ticket</code>: you get a ticket, and the
          command for the other machine.
        </p>
      </div>
    </Live>
  </Layout>
)
