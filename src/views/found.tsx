/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { TokenStatus } from '../token.ts'
import type { GateState } from '../upstream.ts'
import { opens } from './danger.tsx'
import { type Frame, Layout } from './layout.tsx'
import { FindForm } from './palette.tsx'
import { serverHref } from './server-cells.tsx'
import { count } from './words.ts'

export interface FoundToken {
  id: string
  name: string
  subject: string | null
  status: TokenStatus
  connections: number
}

interface FoundShared {
  text: string
  tokens: number
  connections: number
}

export interface FoundServer {
  name: string
  state: GateState
  connections: number
}

/** A token, an API key, or why it is neither. */
export type PastedCard =
  | { token: FoundToken; isOld: boolean }
  | { apiKey: { id: string; name: string }; mayRemove: boolean }
  | { why: string }

export interface FoundCard {
  query: { isEmpty: boolean }
  /** What a pasted secret led to; null where none was pasted. */
  pasted: PastedCard | null
  tokens: FoundToken[]
  subjects: FoundShared[]
  groups: FoundShared[]
  servers: FoundServer[]
  more: number
  mayAct: boolean
}

const live = (connections: number): string | null => (connections === 0 ? null : count(connections, 'live connection'))

type OptionProps = { id: string; href: string; verb: string; deadly?: boolean; detail?: Child; children: Child }

/** One thing to do. What kills leads to its confirmation; everything else to a page. */
const Option = ({ id, href, verb, deadly = false, detail, children }: OptionProps) => (
  <a
    role="option"
    id={id}
    aria-selected="false"
    href={href}
    class={deadly ? 'danger' : undefined}
    {...(deadly ? { ...opens(href), 'aria-haspopup': undefined } : {})}
  >
    <span class="verb">{verb}</span>
    <bdi>{children}</bdi>
    {detail}
  </a>
)

const Group = ({ id, title, children }: { id: string; title: string; children: Child }) => (
  <div role="group" aria-labelledby={id}>
    <p id={id} class="found-title" role="presentation">
      {title}
    </p>
    {children}
  </div>
)

const doomedUrl = (field: string, value: string): string =>
  `/revocations/new?${new URLSearchParams({ [field]: value })}`

/** What is said beside a name; a subject is somebody else's text, and stands apart. */
const Detail = ({ subject = null, words }: { subject?: string | null; words: (string | null)[] }) => {
  const said = words.filter(Boolean).join(', ')
  if (subject === null && said === '') return null
  return (
    <span class="detail">
      {subject !== null && <bdi>{subject}</bdi>}
      {subject !== null && said !== '' && ', '}
      {said}
    </span>
  )
}

const RevokeToken = ({ token }: { token: FoundToken }) => (
  <Option
    id={`find-token-${token.id}`}
    href={doomedUrl('token', token.id)}
    verb="Revoke"
    deadly
    detail={
      <Detail
        subject={token.subject}
        words={[token.status === 'active' ? null : token.status, live(token.connections)]}
      />
    }
  >
    {token.name}
  </Option>
)

const OpenToken = ({ token }: { token: FoundToken }) => (
  <Option
    id={`find-page-${token.id}`}
    href={`/tokens/${token.id}`}
    verb="Show"
    detail={<Detail subject={token.subject} words={[token.status === 'active' ? null : token.status]} />}
  >
    {token.name}
  </Option>
)

const RevokeShared = ({ field, shared }: { field: 'subject' | 'group'; shared: FoundShared[] }) => (
  <>
    {shared.map(({ text, tokens, connections }, index) => (
      <Option
        id={`find-${field}-${index}`}
        href={doomedUrl(field, text)}
        verb="Revoke"
        deadly
        detail={<Detail words={[count(tokens, 'token'), live(connections)]} />}
      >
        {`all of ${field === 'group' ? 'the group ' : ''}${text}`}
      </Option>
    ))}
  </>
)

const ServerOptions = ({ server: { name, connections } }: { server: FoundServer }) => (
  <>
    <Option
      id={`find-close-${name}`}
      href={`${serverHref(name)}/gate?state=closed`}
      verb="Close"
      deadly
      detail={<Detail words={['cut, and refuse until opened', live(connections)]} />}
    >
      {name}
    </Option>
    {connections > 0 && (
      <Option
        id={`find-kill-${name}`}
        href={`${serverHref(name)}/kill`}
        verb="Kill"
        deadly
        detail={<Detail words={['cut; tokens stay', live(connections)]} />}
      >
        {name}
      </Option>
    )}
  </>
)

const Pasted = ({ pasted, mayAct }: { pasted: PastedCard; mayAct: boolean }) => {
  if ('why' in pasted)
    return (
      <p class="hint empty-found" role="status">
        {pasted.why}
      </p>
    )
  if ('apiKey' in pasted) {
    const { apiKey, mayRemove } = pasted
    return (
      <div role="listbox" aria-label="Found">
        <Group id="found-pasted" title="An API key">
          {mayRemove && (
            <Option id="find-api-key" href={`/access/keys/${apiKey.id}/removal`} verb="Remove" deadly>
              {apiKey.name}
            </Option>
          )}
          <Option id="find-api-keys" href="/access/keys" verb="Show">
            {apiKey.name}
          </Option>
        </Group>
      </div>
    )
  }
  const { token, isOld } = pasted
  return (
    <div role="listbox" aria-label="Found">
      <Group id="found-pasted" title={isOld ? 'An old secret of a token: it is dead already' : 'The secret is of'}>
        {mayAct && token.status === 'active' && <RevokeToken token={token} />}
        <OpenToken token={token} />
      </Group>
    </div>
  )
}

/** What can be done with what was found: first what kills, then where to look. */
export const Found = ({ found }: { found: FoundCard }) => {
  const { pasted, tokens, subjects, groups, servers, more, mayAct, query } = found
  if (pasted) return <Pasted pasted={pasted} mayAct={mayAct} />
  const doomed = tokens.filter(({ status }) => status !== 'revoked')
  const isNothing = tokens.length + subjects.length + groups.length + servers.length === 0
  if (isNothing) {
    return (
      <p class="hint empty-found" role="status">
        {query.isEmpty
          ? 'Nothing is in use now. Type a part of any name.'
          : 'No token, subject, group or server is called so.'}
      </p>
    )
  }
  return (
    <div role="listbox" aria-label="Found">
      {mayAct && doomed.length + subjects.length + groups.length > 0 && (
        <Group id="found-revoke" title={query.isEmpty ? 'In use now: revoke for ever' : 'Revoke for ever'}>
          {doomed.map((token) => (
            <RevokeToken token={token} />
          ))}
          <RevokeShared field="subject" shared={subjects} />
          <RevokeShared field="group" shared={groups} />
        </Group>
      )}
      {mayAct && servers.some(({ state }) => state === 'open') && (
        <Group id="found-servers" title="Servers">
          {servers
            .filter(({ state }) => state === 'open')
            .map((server) => (
              <ServerOptions server={server} />
            ))}
        </Group>
      )}
      {mayAct && query.isEmpty && servers.length > 0 && (
        <Group id="found-panic" title="Everything">
          <Option id="find-panic" href="/gate?state=closed" verb="Close" deadly>
            every gate
          </Option>
        </Group>
      )}
      <Group
        id="found-pages"
        title={more > 0 ? `Look (and ${count(more, 'token')} more: type more of the name)` : 'Look'}
      >
        {tokens.map((token) => (
          <OpenToken token={token} />
        ))}
        {servers.map(({ name, state }) => (
          <Option
            id={`find-server-${name}`}
            href={serverHref(name)}
            verb="Show"
            detail={<Detail words={['server', state]} />}
          >
            {name}
          </Option>
        ))}
      </Group>
    </div>
  )
}

/** The palette as a page, where no script runs. */
export const FindPage = ({ frame, found }: { frame: Frame; found: FoundCard }) => (
  <Layout title="Find and kill" frame={frame} narrow isPalette>
    <h1>Find and kill</h1>
    <FindForm found={<Found found={found} />}>
      <button type="submit" class="main">
        Find
      </button>
    </FindForm>
  </Layout>
)
