/** @jsxImportSource hono/jsx */
import type { Reason } from '../revocation-record.ts'
import { Time } from './time.tsx'
import type { TokenCard } from './token-facts.tsx'
import { count, number, spaced } from './words.ts'

/** What the revocation says that killed a token; null where only the time is known. */
export type DeathCard = { id: string; actor: string; reason: Reason; note: string } | null

type TriesProps = { deadTries: TokenCard['deadTries']; linesMax: number }

/** Who tried a secret that no longer lives: also one that a rotation replaced, so of any token. */
export const Tries = ({ deadTries: { count: tries, lastAt, addresses }, linesMax }: TriesProps) => (
  <section class="card" aria-labelledby="tries-title">
    <h2 id="tries-title">Tried when dead</h2>
    <p>
      {count(tries, 'time')}
      {lastAt !== null && (
        <>
          {', last '}
          <Time at={lastAt} exact />
        </>
      )}
    </p>
    <ul>
      {addresses.slice(0, linesMax).map(({ address, count: times }) => (
        <li>
          {address} <span class="quiet">× {number(times)}</span>
        </li>
      ))}
      {addresses.length > linesMax && <li>and {number(addresses.length - linesMax)} more</li>}
    </ul>
  </section>
)

const Revoked = ({ at, death }: { at: string; death: DeathCard }) => (
  <>
    <p>
      It was revoked <Time at={at} exact />
      {death && (
        <>
          {' by '}
          <bdi>{death.actor}</bdi>: {spaced(death.reason)}
        </>
      )}
      . Nothing brings it back.
    </p>
    {death && death.note !== '' && (
      <p>
        <bdi>{death.note}</bdi>
      </p>
    )}
    {death && (
      <p>
        <a class="button" href={`/revocations/${death.id}`}>
          The receipt
        </a>
      </p>
    )}
  </>
)

/** Why it is dead, since when, and by whom. */
export const Death = ({ token, death }: { token: TokenCard; death: DeathCard }) => (
  <section class="card deadly" aria-labelledby="death-title">
    <h2 id="death-title">This token is dead</h2>
    {token.revokedAt !== null ? (
      <Revoked at={token.revokedAt} death={death} />
    ) : (
      <p>
        It expired {token.expiresAt !== null && <Time at={token.expiresAt} exact />}, as it was made to. Nothing gets in
        with it; whoever still needs access gets a new one.
      </p>
    )}
  </section>
)
