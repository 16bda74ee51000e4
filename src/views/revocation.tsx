/** @jsxImportSource hono/jsx */
import { type Reason, REASONS } from '../revocation-record.ts'
import type { TokenStatus } from '../token.ts'
import { ConfirmationPage } from './confirm.tsx'
import { Failure } from './failure.tsx'
import { type Frame, Layout } from './layout.tsx'
import { asText, owned, type Owned, type Piece, type SelectorCard, tokensWords, Words } from './revocation-words.tsx'
import { count, number, spaced } from './words.ts'

export interface Doomed extends Owned {
  id: string
  status: TokenStatus
  connections: number
}

/** What a revocation would kill, asked for without doing it. */
export interface DoomedCard {
  selector: SelectorCard
  tokens: number
  connections: number
  /** The first of them, those in use before the others. */
  first: Doomed[]
  /** Matched too, and dead already. */
  deadAlready: number
  /** Those that reach other servers than the one that was named. */
  reachMore: number
}

const live = (connections: number): string => count(connections, 'live connection')

const wordsOf = ({ tokens, first, selector }: DoomedCard): Piece[] => tokensWords(tokens, first[0], selector)

const DoomedList = ({ doomed: { first, tokens }, allHref }: { doomed: DoomedCard; allHref: string | null }) => (
  <div>
    <ul class="dying" tabindex={0} aria-label="What will die">
      {first.map((token) => (
        <li>
          <span>
            <Words of={owned(token)} />
            {token.status === 'expired' && <span class="quiet"> expired</span>}
          </span>
          <span class="number quiet">{live(token.connections)}</span>
        </li>
      ))}
    </ul>
    {tokens > first.length && (
      <p class="hint">
        and {number(tokens - first.length)} more
        {allHref !== null && (
          <>
            : <a href={allHref}>see all of them</a>
          </>
        )}
      </p>
    )}
  </div>
)

/** What a person may not expect. */
const Surprises = ({ doomed: { deadAlready, reachMore, selector } }: { doomed: DoomedCard }) => (
  <>
    {reachMore > 0 && (
      <p class="hint">
        {number(reachMore)} of them {reachMore === 1 ? 'reaches' : 'reach'} other servers than{' '}
        <bdi>{selector.server}</bdi> too, and {reachMore === 1 ? 'dies' : 'die'} for those as well.
      </p>
    )}
    {deadAlready > 0 && (
      <p class="hint">
        {number(deadAlready)} more {deadAlready === 1 ? 'is' : 'are'} dead already, and{' '}
        {deadAlready === 1 ? 'stays' : 'stay'} as {deadAlready === 1 ? 'it was' : 'they were'}.
      </p>
    )}
  </>
)

export interface ReasonTyped {
  reason: Reason
  note: string
}

const Why = ({ typed, noteLengthMax }: { typed: ReasonTyped; noteLengthMax: number }) => (
  <>
    <label>
      Reason
      <select name="reason">
        {REASONS.map((reason) => (
          <option value={reason} selected={reason === typed.reason}>
            {spaced(reason)}
          </option>
        ))}
      </select>
    </label>
    <label>
      Note (optional)
      <input name="note" value={typed.note} maxlength={noteLengthMax} autocomplete="off" autofocus />
    </label>
  </>
)

type RevocationProps = {
  frame: Frame
  doomed: DoomedCard
  /** What is posted: the selector itself, so that it also takes what is made before it is sent. */
  fields: [string, string][]
  typed: ReasonTyped
  failure: string | null
  noteLengthMax: number
  /** Where those that are only counted are listed; null: nowhere. */
  allHref: string | null
  back: string
}

/** The second of the two steps: names what dies, as a person would. */
export const RevocationPage = (props: RevocationProps) => {
  const { frame, doomed, fields, typed, failure, noteLengthMax, allHref, back } = props
  const words = wordsOf(doomed)
  const isOne = doomed.tokens === 1
  return (
    <ConfirmationPage
      frame={frame}
      title={`Revoke ${asText(words)}?`}
      heading={<Words of={['Revoke ', ...words, '?']} />}
      action="/revocations"
      verb={isOne ? 'Revoke for ever' : `Revoke ${count(doomed.tokens, 'token')} for ever`}
      back={back}
      doomed={
        <>
          <p>
            <strong>
              <Words of={words} />
            </strong>
            , {live(doomed.connections)}, for ever.
          </p>
          <p>Cut at once, and not to be undone: whoever needs access again gets a new token.</p>
        </>
      }
    >
      <Failure text={failure} />
      {fields.map(([name, value]) => (
        <input type="hidden" name={name} value={value} />
      ))}
      {!isOne && <DoomedList doomed={doomed} allHref={allHref} />}
      <Surprises doomed={doomed} />
      <Why typed={typed} noteLengthMax={noteLengthMax} />
    </ConfirmationPage>
  )
}

/** All that was named is dead: there is nothing to ask. */
export const NothingToRevokePage = ({ frame, doomed, back }: { frame: Frame; doomed: DoomedCard; back: string }) => (
  <Layout title="Nothing is left to revoke" frame={frame} narrow>
    <h1 id="title">Nothing is left to revoke</h1>
    <p>
      {doomed.deadAlready === 0
        ? 'No token matches all of that.'
        : `${doomed.deadAlready === 1 ? 'The token' : `All ${count(doomed.deadAlready, 'token')}`} that you named ${doomed.deadAlready === 1 ? 'is' : 'are'} dead already.`}
    </p>
    <p>
      <a class="button" href={back} data-close>
        Back
      </a>
    </p>
  </Layout>
)
