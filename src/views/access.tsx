/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { type ApiKeyCard, ApiKeys } from './api-keys.tsx'
import { Crumb } from './crumb.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { type OperatorCard, Operators } from './operators.tsx'
import { Pager } from './pager.tsx'
import { EndOthers, type SessionCard, Sessions } from './sessions.tsx'
import { count } from './words.ts'

/** A part of a list: `next` is the key of what comes behind it. */
export interface Listed<T> {
  items: T[]
  next: string | null
  total: number
}

export interface AccessCard {
  operators: Listed<OperatorCard>
  apiKeys: Listed<ApiKeyCard>
  sessions: Listed<SessionCard>
  /** People and keys. */
  mayManage: boolean
  mayEnd: boolean
  /** Whether the sessions are those of all people. */
  isAll: boolean
  hasOthers: boolean
  /** What was just done. */
  notice: string | null
}

export type AccessList = 'operators' | 'keys' | 'sessions'

type SectionProps = { id: string; title: string; hint: string; button?: Child; more?: Child; children: Child }

const Section = ({ id, title, hint, button, more, children }: SectionProps) => (
  <section aria-labelledby={`${id}-title`}>
    <div class="heading">
      <h2 id={`${id}-title`}>{title}</h2>
      {button}
    </div>
    <p class="hint">{hint}</p>
    {children}
    {more}
  </section>
)

type PartProps = { card: AccessCard; more?: Child }

const OperatorSection = ({ card: { operators, mayManage }, more }: PartProps) => (
  <Section
    id="operators"
    title="People"
    hint="They sign in here with a name and a password."
    button={
      mayManage && (
        <a id="new-operator" class="button" href="/access/operators/new">
          Add a person
        </a>
      )
    }
    more={more}
  >
    <Operators operators={operators.items} mayManage={mayManage} />
  </Section>
)

const KeySection = ({ card: { apiKeys, mayManage }, more }: PartProps) => (
  <Section
    id="keys"
    title="API keys"
    hint="Programs show them to the API. No client of a server needs one: those have tokens."
    button={
      mayManage && (
        <a id="new-key" class="button" href="/access/keys/new">
          Make an API key
        </a>
      )
    }
    more={more}
  >
    <ApiKeys apiKeys={apiKeys.items} mayManage={mayManage} />
  </Section>
)

const SessionSection = ({ card: { sessions, mayEnd, isAll, hasOthers }, more }: PartProps) => (
  <Section
    id="sessions"
    title={isAll ? 'Sessions' : 'Your sessions'}
    hint="Browsers that are signed in now. A restart of the node ends all of them."
    button={mayEnd && hasOthers && <EndOthers />}
    more={more}
  >
    <Sessions sessions={sessions.items} mayEnd={mayEnd} />
  </Section>
)

const SECTIONS = { operators: OperatorSection, keys: KeySection, sessions: SessionSection }
const NOUNS = { operators: 'person', keys: 'API key', sessions: 'session' }

const More = ({ list, total, next }: { list: AccessList; total: number; next: string | null }) =>
  next === null ? null : (
    <p>
      <a href={`/access/${list}`}>All {list === 'operators' ? `${total} people` : count(total, NOUNS[list])}</a>
    </p>
  )

const Notice = ({ text }: { text: string | null }) =>
  text === null ? null : (
    <p class="notice" role="status">
      {text}
    </p>
  )

/** Who may come in: people, programs, and the browsers that are in now. */
export const AccessPage = ({ frame, card }: { frame: Frame; card: AccessCard }) => (
  <Layout title="Access" frame={frame} refreshed>
    <h1>Access</h1>
    <Notice text={card.notice} />
    <Live frame={frame} every="5s">
      <OperatorSection card={card} more={<More list="operators" {...card.operators} />} />
      <KeySection card={card} more={<More list="keys" {...card.apiKeys} />} />
      <SessionSection card={card} more={<More list="sessions" {...card.sessions} />} />
    </Live>
  </Layout>
)

type ListProps = { frame: Frame; card: AccessCard; list: AccessList; next: string | null }

/** One of the three, where it is too long to stand beside the others. */
export const AccessListPage = ({ frame, card, list, next }: ListProps) => {
  const Part = SECTIONS[list]
  return (
    <Layout title="Access" frame={frame}>
      <Crumb to="/access">Access</Crumb>
      <h1>Access</h1>
      <Part card={card} more={<Pager path={frame.path} next={next} of={NOUNS[list]} />} />
    </Layout>
  )
}
