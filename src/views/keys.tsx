/** @jsxImportSource hono/jsx */
import { Choices } from './choices.tsx'
import { ConfirmationPage } from './confirm.tsx'
import { Crumb } from './crumb.tsx'
import { DangerLink } from './danger.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time } from './time.tsx'
import { count, number } from './words.ts'

export interface RingKeyCard {
  id: string
  current: boolean
  createdAt: string
  liveTokens: number
  apiKeys: number
}

const Line = ({ ringKey, mayManage }: { ringKey: RingKeyCard; mayManage: boolean }) => {
  const { id, current, createdAt, liveTokens, apiKeys } = ringKey
  return (
    <Row id={`key-${id}`}>
      <HeadCell label="Key">
        <code>{id}</code>
        {current && <span class="detail">new secrets use this one</span>}
      </HeadCell>
      <Cell label="Made">
        <Time at={createdAt} />
      </Cell>
      <Cell label="Live tokens" kind="number">
        {number(liveTokens)}
      </Cell>
      <Cell label="API keys" kind="number">
        {number(apiKeys)}
      </Cell>
      {mayManage && (
        <Cell label="" kind="action">
          {!current && (
            <DangerLink id={`remove-${id}`} href={`/node/keys/${id}/removal`} label={`Remove the key ${id}`}>
              Remove
            </DangerLink>
          )}
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Key', 'Made', 'Live tokens', 'API keys']

type RingProps = { keys: RingKeyCard[]; keysMax: number; mayManage: boolean }

/** The keys that secrets are hashed and credentials are sealed with. */
export const Ring = ({ keys, keysMax, mayManage }: RingProps) => (
  <section aria-labelledby="ring-title">
    <div class="heading">
      <h2 id="ring-title">Key ring</h2>
      {mayManage && keys.length < keysMax && (
        <a id="rotate" class="button" href="/node/keys/new">
          Rotate
        </a>
      )}
    </div>
    <p class="hint">
      Secrets are kept as hashes under a key, and credentials of servers are sealed with the newest. A key can go once
      nothing uses it.
      {keys.length >= keysMax &&
        ` The ring holds ${keysMax} keys, the most it may: remove one before you rotate again.`}
    </p>
    <Table labelledBy="ring-title" columns={mayManage ? [...COLUMNS, 'Removal'] : COLUMNS}>
      {keys.map((ringKey) => (
        <Line ringKey={ringKey} mayManage={mayManage} />
      ))}
    </Table>
  </section>
)

export const RotatePage = ({ frame, formId }: { frame: Frame; formId: string }) => (
  <Layout title="Rotate the keys" frame={frame} narrow>
    <Crumb to="/node">Node</Crumb>
    <h1>Rotate the keys</h1>
    <p>
      The node makes a new key. New tokens, new secrets and new API keys use it from then on, and the credentials of
      servers are sealed with it.
    </p>
    <p>
      Nothing is cut: what is under the old key stays valid. To be rid of the old key, give its tokens new secrets or
      let them expire, and then remove it. A backup from before does not have the new key: make another.
    </p>
    <form class="stack" method="post" action="/node/keys/new" data-once>
      <input type="hidden" name="form" value={formId} />
      <Choices verb="Rotate" back="/node" autofocus />
    </form>
  </Layout>
)

interface KeyRemovalProps {
  frame: Frame
  ringKey: RingKeyCard
  /** Live connections of the tokens that die. */
  connections: number
}

export const KeyRemovalPage = ({ frame, ringKey, connections }: KeyRemovalProps) => {
  const { id, liveTokens, apiKeys } = ringKey
  const isUsed = liveTokens + apiKeys > 0
  return (
    <ConfirmationPage
      frame={frame}
      title="Remove this key?"
      action={`/node/keys/${id}/removal`}
      verb={isUsed ? 'Revoke them, and remove the key' : 'Remove the key'}
      back="/node"
      doomed={
        isUsed ? (
          <>
            <p>
              It is in use. With it die, for ever:{' '}
              <strong>
                {count(liveTokens, 'live token')}, {count(apiKeys, 'API key')}, {count(connections, 'live connection')}
              </strong>
              .
            </p>
            <p>To keep them, cancel, and give each a new secret first.</p>
          </>
        ) : (
          <p>
            Nothing live uses it, so nothing is cut. Checkpoints that it signed can't be verified by this node any more.
          </p>
        )
      }
    >
      <p class="hint">
        Key <code>{id}</code>
      </p>
      {isUsed && <input type="hidden" name="revoke" value={`${liveTokens} ${apiKeys}`} />}
    </ConfirmationPage>
  )
}
