/** @jsxImportSource hono/jsx */
import { Choice, FilterForm, Kept, ServerChoice } from './filter.tsx'

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

interface TokenFilterProps {
  query: TokenQuery
  /** Null: there are too many to choose from. */
  serverNames: string[] | null
  lengthMax: number
}

export const TokenFilter = ({ query, serverNames, lengthMax }: TokenFilterProps) => (
  <FilterForm
    list="/tokens"
    label="Name, subject or group"
    q={query.q}
    lengthMax={lengthMax}
    kept={
      <>
        <Kept name="subject" label="Subject" value={query.subject} without={tokensPath({ ...query, subject: '' })} />
        <Kept name="group" label="Group" value={query.group} without={tokensPath({ ...query, group: '' })} />
      </>
    }
  >
    <Choice name="state" label="State" options={STATES} value={query.state} />
    <ServerChoice names={serverNames} value={query.server} />
    <Choice name="look" label="Needs a look" any="Any" options={LOOKS} value={query.look} />
  </FilterForm>
)
