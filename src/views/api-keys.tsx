/** @jsxImportSource hono/jsx */
import { Choices } from './choices.tsx'
import { ConfirmationPage } from './confirm.tsx'
import { Crumb } from './crumb.tsx'
import { DangerLink } from './danger.tsx'
import { whoOf } from './deeds.ts'
import { Empty } from './empty.tsx'
import { Field, type Filled } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { RoleChoice } from './operators.tsx'
import { SecretCard } from './secret.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time, TimeOrNever } from './time.tsx'

export interface ApiKeyCard {
  id: string
  name: string
  role: 'operator' | 'auditor'
  createdAt: string
  createdBy: string
  expiresAt: string | null
  lastUsedAt: string | null
  isExpired: boolean
}

const Line = ({ apiKey, mayManage }: { apiKey: ApiKeyCard; mayManage: boolean }) => {
  const { id, name, role, createdAt, createdBy, expiresAt, lastUsedAt, isExpired } = apiKey
  return (
    <Row id={id} dead={isExpired}>
      <HeadCell label="Name">
        <bdi>{name}</bdi>
      </HeadCell>
      <Cell label="Role">{role}</Cell>
      <Cell label="Made">
        <Time at={createdAt} />
        <span class="detail">
          by <bdi>{whoOf(createdBy)}</bdi>
        </span>
      </Cell>
      <Cell label="Last used">
        {lastUsedAt === null ? <span class="quiet">not since the start</span> : <Time at={lastUsedAt} />}
      </Cell>
      <Cell label="Expires">
        <TimeOrNever at={expiresAt} />
        {isExpired && <span class="detail">expired: it opens nothing</span>}
      </Cell>
      {mayManage && (
        <Cell label="" kind="action">
          <DangerLink id={`remove-${id}`} href={`/access/keys/${id}/removal`} label={`Remove the API key ${name}`}>
            Remove
          </DangerLink>
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Name', 'Role', 'Made', 'Last used', 'Expires']

type ApiKeysProps = { apiKeys: ApiKeyCard[]; mayManage: boolean }

export const ApiKeys = ({ apiKeys, mayManage }: ApiKeysProps) =>
  apiKeys.length === 0 ? (
    <Empty title="No API key yet">
      <p>A script, a pipeline or a monitor shows one in place of signing in, and can be shut out by itself.</p>
      {mayManage && (
        <p>
          <a href="/access/keys/new">Make an API key</a>
        </p>
      )}
    </Empty>
  ) : (
    <Table labelledBy="keys-title" columns={mayManage ? [...COLUMNS, 'Removal'] : COLUMNS}>
      {apiKeys.map((apiKey) => (
        <Line apiKey={apiKey} mayManage={mayManage} />
      ))}
    </Table>
  )

export interface ApiKeyTyped {
  name: string
  role: string
  expires: string
}

interface FormProps {
  frame: Frame
  /** The same form sent twice makes one key. */
  formId: string
  filled: Filled<ApiKeyTyped>
}

export const ApiKeyFormPage = ({ frame, formId, filled }: FormProps) => (
  <Layout title="Make an API key" frame={frame} narrow>
    <Crumb to="/access">Access</Crumb>
    <h1>Make an API key</h1>
    <form class="stack" method="post" action="/access/keys/new" data-once>
      <input type="hidden" name="form" value={formId} />
      <Field name="name" label="Name" hint="What it is for, such as deploy pipeline." filled={filled} required />
      <RoleChoice roles={['operator', 'auditor']} chosen={filled.typed.role} />
      <Field
        name="expires"
        label="Expires (optional)"
        hint="After a time such as 90d, or on a date such as 2026-12-31. Empty: it lives until it is removed."
        filled={filled}
      />
      <Choices verb="Make the key" back="/access" />
    </form>
  </Layout>
)

type IssuedProps = { frame: Frame; apiKey: ApiKeyCard; secret: string; consoleUrl: string }

/** The one page that holds the key. */
export const ApiKeyIssuedPage = ({ frame, apiKey: { name, role, expiresAt }, secret, consoleUrl }: IssuedProps) => (
  <Layout title="API key made" frame={frame}>
    <div class="sheet">
      <Crumb to="/access">Access</Crumb>
      <h1>
        API key made: <bdi>{name}</bdi>
      </h1>
      <p>
        It may do what the role {role} may,{' '}
        {expiresAt === null ? 'until it is removed' : <>until {<Time at={expiresAt} />}</>}.
      </p>
      <SecretCard secret={secret} />
      <section class="card" aria-labelledby="use-title">
        <h2 id="use-title">How to use it</h2>
        <p>
          For the command line: <code>PORTCULLIS_API_KEY=… portcullis --url {consoleUrl} token ls</code>
        </p>
        <p>
          For anything else: <code>Authorization: Bearer pca_…</code> to the addresses in{' '}
          <a href="/api/v1/openapi.json">openapi.json</a>.
        </p>
      </section>
      <p class="links">
        <a class="button" href="/access">
          Back to access
        </a>
        <a class="button" href="/access/keys/new">
          Make another
        </a>
      </p>
    </div>
  </Layout>
)

/** What a reload of that page gets, or the second of two submits. */
export const ApiKeyIssuedBeforePage = ({ frame, name }: { frame: Frame; name: string | null }) => (
  <Layout title="Made already" frame={frame} narrow>
    <h1>Made already</h1>
    <p>
      This form made{' '}
      {name === null ? (
        'a key that is removed by now'
      ) : (
        <strong>
          <bdi>{name}</bdi>
        </strong>
      )}
      , and nothing was made now. The key was shown then, and is not shown again.
    </p>
    <p>If nobody copied it, remove it and make another.</p>
    <p class="links">
      <a class="button" href="/access">
        Back to access
      </a>
    </p>
  </Layout>
)

export const ApiKeyRemovalPage = ({ frame, apiKey: { id, name, role } }: { frame: Frame; apiKey: ApiKeyCard }) => (
  <ConfirmationPage
    frame={frame}
    title="Remove this API key?"
    action={`/access/keys/${id}/removal`}
    verb="Remove"
    back="/access"
    doomed={
      <p>
        What shows{' '}
        <strong>
          <bdi>{name}</bdi>
        </strong>
        , {role}, is refused from now on. What it did stays done.
      </p>
    }
  />
)
