/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { type Frame, Layout } from './layout.tsx'
import { Time } from './time.tsx'
import { number } from './words.ts'

/** What a kill, a closing, an opening or a removal did, as measured. */
export interface OutcomeCard {
  at: string
  actor: string
  reason: string | null
  /** How many connections were cut; null for what cuts none. */
  cut: number | null
  /** From the request's arrival to the last write of the last of them. */
  lastCutMs: number | null
  /** False: in force, but not in the database yet. */
  durable: boolean
  /** Not in the journal either. */
  lostOnRestart: boolean
  /** Its row in the audit log; null while it waits for the database. */
  auditSequence: number | null
}

const NotDurable = ({ lostOnRestart }: { lostOnRestart: boolean }) => (
  <p class="failure" role="alert">
    {lostOnRestart
      ? 'It is in force, but neither the database nor the journal could be written: a restart would undo it. Do not restart the node; look at its disk now. '
      : 'It is in force, but the database could not be written yet. It is in the journal, and holds over a restart. '}
    It is tried again until the database takes it. Only then has it a row in the audit log.
  </p>
)

const Took = ({ ms }: { ms: number | null }) =>
  ms === null ? (
    <span class="quiet">nothing was connected</span>
  ) : (
    <>
      <strong>{ms.toFixed(3)} ms</strong>
      <span class="detail">from the arrival of the request</span>
    </>
  )

const Facts = ({ outcome }: { outcome: OutcomeCard }) => (
  <dl class="card">
    {outcome.cut !== null && (
      <>
        <dt>Connections cut</dt>
        <dd>{number(outcome.cut)}</dd>
        <dt>Last cut after</dt>
        <dd>
          <Took ms={outcome.lastCutMs} />
        </dd>
      </>
    )}
    <dt>By</dt>
    <dd>
      <bdi>{outcome.actor}</bdi>
    </dd>
    <dt>When</dt>
    <dd>
      <Time at={outcome.at} exact />
    </dd>
    {outcome.reason !== null && (
      <>
        <dt>Reason</dt>
        <dd>
          <bdi>{outcome.reason}</bdi>
        </dd>
      </>
    )}
    <dt>On record</dt>
    <dd>
      {outcome.auditSequence === null ? (
        <span class="quiet">not yet</span>
      ) : (
        <a href={`/audit/${outcome.auditSequence}`}>row {number(outcome.auditSequence)} of the audit log</a>
      )}
    </dd>
  </dl>
)

type OutcomeProps = {
  frame: Frame
  /** What was done, in words. */
  title: string
  /** What it was done to: a name of a stranger's, or nothing more to say. */
  subject?: string
  outcome: OutcomeCard
  /** What follows from it, and where to go next. */
  children: Child
}

/** The proof, on the screen at once: it is answered by the very request that did it. */
export const OutcomePage = ({ frame, title, subject, outcome, children }: OutcomeProps) => (
  <Layout title={title} frame={frame} narrow>
    <h1>{title}</h1>
    {subject !== undefined && (
      <p>
        <bdi>{subject}</bdi>
      </p>
    )}
    {!outcome.durable && <NotDurable lostOnRestart={outcome.lostOnRestart} />}
    <Facts outcome={outcome} />
    {children}
  </Layout>
)
