/** @jsxImportSource hono/jsx */
import { type AuditEventCard, Deed } from './audit-event.tsx'
import { auditUrl } from './audit-filter.tsx'
import { CopyButton, Copyable } from './copy.tsx'
import { Crumb } from './crumb.tsx'
import { Fact } from './fact.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Time } from './time.tsx'
import { number } from './words.ts'

export interface AuditRowCard extends AuditEventCard {
  /** Milliseconds since the epoch. */
  at: number
  node: string
  previousHash: string
  hash: string
  /** The text whose SHA-256 the hash is. */
  hashed: string
  /** Whether there is a row behind it. */
  hasNext: boolean
  /** Five minutes before and after, RFC 3339. */
  around: { since: string; until: string }
}

const Absent = () => <span class="quiet">none</span>

// Characters that turn the direction of a line, or are not seen, would make it read as what it is not.
const UNSEEN = /[\p{Cf}\p{Zl}\p{Zp}]/gu

/** JSON for people: the same value, and nothing in it that can't be seen. */
export const readable = (value: unknown): string =>
  JSON.stringify(value, null, 2).replace(UNSEEN, (found) =>
    [...Array(found.length).keys()]
      .map((index) => `\\u${found.charCodeAt(index).toString(16).padStart(4, '0')}`)
      .join(''),
  )

const Facts = ({ row }: { row: AuditRowCard }) => (
  <dl class="card">
    <Fact term="Row">{number(row.sequence)}</Fact>
    <Fact term="When">
      <Time at={row.time} exact /> <span class="quiet">({row.at} ms since 1970)</span>
    </Fact>
    <Fact term="Who">
      <bdi>{row.actor}</bdi>
    </Fact>
    <Fact term="Action">
      <code>{row.action}</code>
    </Fact>
    <Fact term="Done to">
      {row.targetName === null ? (
        <Absent />
      ) : row.href === null ? (
        <bdi>{row.targetName}</bdi>
      ) : (
        <a href={row.href}>
          <bdi>{row.targetName}</bdi>
        </a>
      )}
    </Fact>
    <Fact term="Its id">
      {row.targetId === null ? (
        <Absent />
      ) : (
        <Copyable id="target-id" what="the id">
          {row.targetId}
        </Copyable>
      )}
    </Fact>
    <Fact term="Reason">{row.reason === null ? <Absent /> : <bdi>{row.reason}</bdi>}</Fact>
    <Fact term="Node">
      <code>{row.node}</code>
    </Fact>
  </dl>
)

const Details = ({ details }: Pick<AuditRowCard, 'details'>) => (
  <section aria-labelledby="details-title">
    <div class="heading">
      <h2 id="details-title">Details</h2>
      <CopyButton of="details" what="the details" />
    </div>
    <pre id="details" dir="ltr">
      {readable(details)}
    </pre>
  </section>
)

const Chain = ({ row }: { row: AuditRowCard }) => (
  <section aria-labelledby="chain-title">
    <h2 id="chain-title">In the chain</h2>
    <dl class="card">
      <Fact term="Hash of the row before">
        <Copyable id="previous-hash" what="the hash of the row before">
          {row.sequence > 1 ? <a href={`/audit/${row.sequence - 1}`}>{row.previousHash}</a> : row.previousHash}
        </Copyable>
        {row.sequence === 1 && <span class="detail">This is the first row: it follows sixty-four zeros.</span>}
      </Fact>
      <Fact term="Hash">
        <Copyable id="hash" what="the hash">
          {row.hash}
        </Copyable>
      </Fact>
    </dl>
    <details class="card">
      <summary>Make the hash yourself</summary>
      <p>
        It is the SHA-256 of this text in UTF-8, in hexadecimal: a JSON array of the row's number, its time in
        milliseconds, node, actor, action, id and name of the target, reason, the details as text, and the hash of the
        row before. In a file without a line break at its end, <code>sha256sum</code> gives the same.
      </p>
      <div class="heading">
        <h3>What is hashed</h3>
        <CopyButton of="hashed" what="what is hashed" />
      </div>
      <pre id="hashed" dir="ltr">
        {row.hashed}
      </pre>
    </details>
  </section>
)

const Near = ({ row: { actor, targetId, around } }: { row: AuditRowCard }) => (
  <p class="links screen">
    <a class="button" href={auditUrl(around)}>
      Five minutes around it
    </a>
    <a class="button" href={auditUrl({ actor })}>
      All by the same
    </a>
    {targetId !== null && (
      <a class="button" href={auditUrl({ target: targetId })}>
        All done to the same
      </a>
    )}
  </p>
)

/** One row in full, at an address that stays. */
export const AuditRowPage = ({ frame, row }: { frame: Frame; row: AuditRowCard }) => (
  <Layout title={`Row ${number(row.sequence)} of the audit log`} frame={frame}>
    <div class="sheet">
      <Crumb to="/audit">Audit</Crumb>
      <div class="heading">
        <h1>Row {number(row.sequence)}</h1>
        <p class="links screen">
          {row.sequence > 1 && (
            <a class="button" href={`/audit/${row.sequence - 1}`} rel="prev">
              Row before
            </a>
          )}
          {row.hasNext && (
            <a class="button" href={`/audit/${row.sequence + 1}`} rel="next">
              Row after
            </a>
          )}
        </p>
      </div>
      <p class="lead">
        <Deed event={row} />
      </p>
      <Facts row={row} />
      <Near row={row} />
      {Object.keys(row.details).length > 0 && <Details details={row.details} />}
      <Chain row={row} />
    </div>
  </Layout>
)
