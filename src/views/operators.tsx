/** @jsxImportSource hono/jsx */
import { type Role, ROLES } from '../operator.ts'
import { Choices } from './choices.tsx'
import { ConfirmationPage } from './confirm.tsx'
import { CopyButton } from './copy.tsx'
import { Crumb } from './crumb.tsx'
import { DangerLink } from './danger.tsx'
import { Field, type Filled } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time, TimeOrNever } from './time.tsx'
import { count } from './words.ts'

export interface OperatorCard {
  id: string
  name: string
  role: Role
  createdAt: string
  lastSignInAt: string | null
  /** Whether a password was set. */
  ready: boolean
  /** The one who looks. */
  isSelf: boolean
  /** Without this one nobody could manage people any more. */
  isLastOwner: boolean
}

const ROLE_WORDS: Record<Role, string> = {
  owner: 'everything, people and keys too',
  operator: 'servers, tokens and kills; no people, no keys',
  auditor: 'looks at all, and changes nothing',
}

const Line = ({ operator, mayManage }: { operator: OperatorCard; mayManage: boolean }) => {
  const { id, name, role, createdAt, lastSignInAt, ready, isSelf, isLastOwner } = operator
  return (
    <Row id={id}>
      <HeadCell label="Name">
        <bdi>{name}</bdi>
        {isSelf && <span class="detail">this is you</span>}
      </HeadCell>
      <Cell label="Role">{role}</Cell>
      <Cell label="Added">
        <Time at={createdAt} />
      </Cell>
      <Cell label="Last sign-in">
        {ready ? <TimeOrNever at={lastSignInAt} /> : <span class="quiet">no password set yet</span>}
      </Cell>
      {mayManage && (
        <Cell label="" kind="action">
          <a
            class="button"
            id={`link-${id}`}
            href={`/access/operators/${id}/link`}
            aria-label={`${ready ? 'Reset password of' : 'New link for'} ${name}`}
          >
            {ready ? 'Reset password' : 'New link'}
          </a>
        </Cell>
      )}
      {mayManage && (
        <Cell label="" kind="action">
          {isLastOwner ? (
            <span class="quiet">the last owner</span>
          ) : (
            <DangerLink id={`remove-${id}`} href={`/access/operators/${id}/removal`} label={`Remove ${name}`}>
              Remove
            </DangerLink>
          )}
        </Cell>
      )}
    </Row>
  )
}

const COLUMNS = ['Name', 'Role', 'Added', 'Last sign-in']

type OperatorsProps = { operators: OperatorCard[]; mayManage: boolean }

export const Operators = ({ operators, mayManage }: OperatorsProps) => (
  <Table labelledBy="operators-title" columns={mayManage ? [...COLUMNS, 'Password', 'Removal'] : COLUMNS}>
    {operators.map((operator) => (
      <Line operator={operator} mayManage={mayManage} />
    ))}
  </Table>
)

interface RoleProps {
  roles: readonly Role[]
  chosen: string
}

export const RoleChoice = ({ roles, chosen }: RoleProps) => (
  <label>
    Role
    <select name="role">
      {roles.map((role) => (
        <option value={role} selected={role === chosen}>
          {role}: {ROLE_WORDS[role]}
        </option>
      ))}
    </select>
  </label>
)

export interface OperatorTyped {
  name: string
  role: string
}

interface FormProps {
  frame: Frame
  /** The same form sent twice makes one operator. */
  formId: string
  filled: Filled<OperatorTyped>
}

export const OperatorFormPage = ({ frame, formId, filled }: FormProps) => (
  <Layout title="Add a person" frame={frame} narrow>
    <Crumb to="/access">Access</Crumb>
    <h1>Add a person</h1>
    <form class="stack" method="post" action="/access/operators/new" data-once>
      <input type="hidden" name="form" value={formId} />
      <Field
        name="name"
        label="Name"
        hint="What they sign in with, and what stands in the audit log."
        filled={filled}
        required
      />
      <RoleChoice roles={ROLES} chosen={filled.typed.role} />
      <p class="hint">You get a link to hand over, by which they choose a password themselves.</p>
      <Choices verb="Add, and make the link" back="/access" />
    </form>
  </Layout>
)

type ResetProps = { frame: Frame; formId: string; operator: OperatorCard }

export const ResetPage = ({ frame, formId, operator: { id, name, ready } }: ResetProps) => (
  <Layout title={`A link for ${name}`} frame={frame} narrow>
    <Crumb to="/access">Access</Crumb>
    <h1>
      {ready ? 'Reset the password of ' : 'Make another link for '}
      <bdi>{name}</bdi>
    </h1>
    <p>
      You get a link by which <bdi>{name}</bdi> chooses a new password. An earlier link stops working now;{' '}
      {ready
        ? 'the old password works until the new one is set, and then their sessions end as well.'
        : 'no password is set yet.'}
    </p>
    <form class="stack" method="post" action={`/access/operators/${id}/link`} data-once>
      <input type="hidden" name="form" value={formId} />
      <Choices verb="Make the link" back="/access" autofocus />
    </form>
  </Layout>
)

type LinkProps = { frame: Frame; title: string; name: string; link: { url: string; expiresAt: string } }

/** The one page that holds a link which sets a password. */
export const LinkPage = ({ frame, title, name, link }: LinkProps) => (
  <Layout title={title} frame={frame}>
    <div class="sheet">
      <Crumb to="/access">Access</Crumb>
      <h1>
        {title}: <bdi>{name}</bdi>
      </h1>
      <section class="card" aria-labelledby="link-title">
        <h2 id="link-title">The link to hand over</h2>
        <p class="secret link">
          <code id="link">{link.url}</code>
          <CopyButton of="link" what="the link" />
        </p>
        <p class="warning">
          Whoever opens it first chooses the password of <bdi>{name}</bdi>. It works once, until{' '}
          <Time at={link.expiresAt} />, and is shown only now.
        </p>
      </section>
      <p class="links">
        <a class="button" href="/access">
          Back to access
        </a>
      </p>
    </div>
  </Layout>
)

type BeforeProps = { frame: Frame; operator: { id: string; name: string } | null }

/** What a reload of that page gets, or the second of two submits. */
export const LinkBeforePage = ({ frame, operator }: BeforeProps) => (
  <Layout title="Made already" frame={frame} narrow>
    <h1>Made already</h1>
    <p>This form made a link before, and nothing was done now. The link was shown then, and is not shown again.</p>
    <p class="links">
      {operator && (
        <a class="button" href={`/access/operators/${operator.id}/link`}>
          Make another link
        </a>
      )}
      <a class="button" href="/access">
        Back to access
      </a>
    </p>
  </Layout>
)

type RemovalProps = { frame: Frame; operator: OperatorCard; sessions: number }

export const OperatorRemovalPage = ({ frame, operator: { id, name, role, isSelf }, sessions }: RemovalProps) => (
  <ConfirmationPage
    frame={frame}
    title={isSelf ? 'Remove yourself?' : 'Remove this person?'}
    action={`/access/operators/${id}/removal`}
    verb={isSelf ? 'Remove me' : 'Remove'}
    back="/access"
    doomed={
      <>
        <p>
          <strong>
            <bdi>{name}</bdi>
          </strong>
          , {role}, can't sign in any more; {count(sessions, 'session')} {sessions === 1 ? 'ends' : 'end'} now.
        </p>
        <p>Tokens and API keys that they made go on living.</p>
      </>
    }
  />
)
