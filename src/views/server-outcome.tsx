/** @jsxImportSource hono/jsx */
import type { Frame } from './layout.tsx'
import { type OutcomeCard, OutcomePage } from './outcome.tsx'
import { serverHref } from './server-cells.tsx'

export type ServerDeed = 'closed' | 'opened' | 'killed' | 'removed'

const TITLES: Record<ServerDeed, (name: string) => string> = {
  closed: (name) => `${name} is closed`,
  opened: (name) => `${name} is open`,
  killed: (name) => `The connections of ${name} are cut`,
  removed: (name) => `${name} is removed`,
}

const AFTER: Record<ServerDeed, string> = {
  closed: 'Every request to it is refused with 503 until it is opened again. Tokens stay valid.',
  opened: 'Clients may come back at once.',
  killed: 'Tokens stay valid, and the gate is as it was: clients may come back.',
  removed: 'Its name is free again. No token of before reaches what takes it.',
}

type Props = { frame: Frame; deed: ServerDeed; name: string; outcome: OutcomeCard; mayOpen: boolean }

export const ServerOutcomePage = ({ frame, deed, name, outcome, mayOpen }: Props) => (
  <OutcomePage frame={frame} title={TITLES[deed](name)} outcome={outcome}>
    <p>{AFTER[deed]}</p>
    {deed === 'closed' && mayOpen && (
      <p>
        <a class="button" href={`${serverHref(name)}/gate?state=open`}>
          Open it again
        </a>
      </p>
    )}
    <p class="links">
      {deed !== 'removed' && <a href={serverHref(name)}>{`To ${name}`}</a>}
      <a href="/servers">Servers</a>
      <a href="/">Overview</a>
    </p>
  </OutcomePage>
)
