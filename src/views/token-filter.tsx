/** @jsxImportSource hono/jsx */

/** Which tokens, by whether they live. */
export const STATES = { active: 'Live', expired: 'Expired', revoked: 'Revoked', all: 'All' } as const
export type TokenState = keyof typeof STATES

/** What needs a look, as the address of the page says it, and as people do. */
export const LOOKS = {
  unused: 'Long unused',
  'never-expires': 'Never expire',
  expiring: 'Expire soon',
  'many-addresses': 'From many addresses',
  'no-servers': 'Without a server',
} as const
export type Look = keyof typeof LOOKS

/** All of a filter must hold; an empty text lets everything through. */
export interface TokenQuery {
  q: string
  state: TokenState
  server: string
  look: Look | ''
  /** The whole of a subject or group, not a part. */
  subject: string
  group: string
}

/** Where the tokens of a filter are listed. */
export const tokensPath = (query: Partial<TokenQuery>): string => {
  const fields = Object.entries(query).filter(
    ([name, value]) => value !== '' && (name !== 'state' || value !== 'active'),
  )
  return fields.length === 0 ? '/tokens' : `/tokens?${new URLSearchParams(fields)}`
}

type ChoiceProps = { name: string; label: string; any?: string; options: Record<string, string>; value: string }

const Choice = ({ name, label, any, options, value }: ChoiceProps) => (
  <label>
    {label}
    <select name={name}>
      {any !== undefined && <option value="">{any}</option>}
      {Object.entries(options).map(([option, text]) => (
        <option value={option} selected={option === value}>
          {text}
        </option>
      ))}
    </select>
  </label>
)

/** Names to choose from; more than a few are typed. */
export const ServerChoice = ({ names, value }: { names: string[] | null; value: string }) =>
  names ? (
    <Choice
      name="server"
      label="Server"
      any="Any"
      options={Object.fromEntries([...new Set(value === '' ? names : [...names, value])].map((name) => [name, name]))}
      value={value}
    />
  ) : (
    <label>
      Server
      <input name="server" value={value} autocomplete="off" autocapitalize="none" spellcheck={false} />
    </label>
  )

/** What came with the address and can only be taken away here. */
const Kept = ({ query, name }: { query: TokenQuery; name: 'subject' | 'group' }) =>
  query[name] === '' ? null : (
    <p class="kept">
      <input type="hidden" name={name} value={query[name]} />
      {name === 'group' ? 'Group' : 'Subject'} <bdi>{query[name]}</bdi>
      <a class="button" href={tokensPath({ ...query, [name]: '' })} aria-label={`Any ${name}`}>
        ✕
      </a>
    </p>
  )

interface TokenFilterProps {
  query: TokenQuery
  /** Null: there are too many to choose from. */
  serverNames: string[] | null
  lengthMax: number
}

/**
 * Stands outside of what is refreshed. Its fields go in a body, since somebody may paste a secret; the answer is the
 * list at an address without one, and what is fetched from then on.
 */
export const TokenFilter = ({ query, serverNames, lengthMax }: TokenFilterProps) => (
  <form
    class="filter"
    method="post"
    action="/tokens/filter"
    role="search"
    hx-post="/tokens/filter"
    hx-target="#live"
    hx-select="#live"
    hx-swap="outerMorph ignoreTitle:true"
    hx-trigger="input delay:150ms"
    hx-sync="#live:replace"
  >
    <label class="wide">
      Name, subject or group
      <input
        name="q"
        type="search"
        value={query.q}
        maxlength={lengthMax}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
      />
    </label>
    <Choice name="state" label="State" options={STATES} value={query.state} />
    <ServerChoice names={serverNames} value={query.server} />
    <Choice name="look" label="Needs a look" any="Any" options={LOOKS} value={query.look} />
    <button type="submit">Filter</button>
    <a class="button" href="/tokens">
      Clear
    </a>
    <Kept query={query} name="subject" />
    <Kept query={query} name="group" />
  </form>
)

/** Said in place of looking for it. */
export const PastedSecret = () => (
  <p class="failure" role="alert">
    That holds a secret, which must not end up in an address: nothing was looked for by it.{' '}
    <a href="/find" data-palette>
      Find and kill
    </a>{' '}
    takes it, and shows whose it is.
  </p>
)
