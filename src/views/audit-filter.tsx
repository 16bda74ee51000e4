/** @jsxImportSource hono/jsx */
import { Time } from './time.tsx'

/** What a person typed, as it stood there; empty texts filter nothing. */
export interface AuditTyped {
  actor: string
  action: string
  target: string
  since: string
  until: string
}

export type AuditFailures = { [K in keyof AuditTyped]?: string }

export interface AuditFilterCard {
  typed: AuditTyped
  failures: AuditFailures
  /** What the times mean, RFC 3339. */
  since: string | null
  until: string | null
  actors: string[]
  actions: string[]
  textLengthMax: number
}

/** Where the same filter leads with other times, or without any. */
export const auditUrl = (fields: Partial<AuditTyped> & { seen?: string; format?: string }, path = '/audit'): string => {
  const query = new URLSearchParams(Object.entries(fields).filter(([, value]) => value !== ''))
  return query.size === 0 ? path : `${path}?${query}`
}

const SPANS: [since: string, text: string][] = [
  ['1h', 'Last hour'],
  ['24h', '24 hours'],
  ['7d', '7 days'],
  ['30d', '30 days'],
  ['', 'All'],
]

const Spans = ({ typed }: { typed: AuditTyped }) => (
  <p class="windows" role="group" aria-label="Since when">
    {SPANS.map(([since, text]) => (
      <a
        class="button"
        href={auditUrl({ ...typed, since, until: '' })}
        aria-current={typed.since === since && typed.until === '' ? 'true' : undefined}
      >
        {text}
      </a>
    ))}
  </p>
)

const nounOf = (action: string): string => action.split('.')[0] ?? action

/** Actions by noun, each after all of its noun. One that was never done is kept: it came with the address. */
const ActionChoice = ({ actions, typed }: { actions: string[]; typed: string }) => {
  const nouns = Object.groupBy(actions, nounOf)
  const isKnown = typed === '' || actions.includes(typed) || (typed.endsWith('.') && typed.slice(0, -1) in nouns)
  return (
    <select name="action">
      <option value="">any</option>
      {!isKnown && (
        <option value={typed} selected>
          {typed}
        </option>
      )}
      {Object.entries(nouns).map(([noun, own = []]) => (
        <optgroup label={noun}>
          <option value={`${noun}.`} selected={typed === `${noun}.`}>
            {noun}: all
          </option>
          {own.map((action) => (
            <option value={action} selected={typed === action}>
              {action}
            </option>
          ))}
        </optgroup>
      ))}
    </select>
  )
}

interface FieldProps {
  name: keyof AuditTyped
  filter: AuditFilterCard
}

const attributesOf = ({ name, filter: { typed, failures, textLengthMax } }: FieldProps) => ({
  name,
  value: typed[name],
  maxlength: textLengthMax,
  autocomplete: 'off',
  autocapitalize: 'none' as const,
  spellcheck: false,
  'aria-invalid': failures[name] && ('true' as const),
  'aria-describedby': failures[name] && `${name}-wrong`,
})

const Wrong = ({ name, filter: { failures } }: FieldProps) =>
  failures[name] === undefined ? null : (
    <span id={`${name}-wrong`} class="wrong">
      {failures[name]}
    </span>
  )

type TextProps = FieldProps & { label: string; list?: string; placeholder?: string }

const TextField = ({ label, list, placeholder, ...field }: TextProps) => (
  <label>
    {label}
    <input {...attributesOf(field)} list={list} placeholder={placeholder} />
    <Wrong {...field} />
  </label>
)

/** In UTC; a script makes it the reader's own time, and sends UTC all the same. */
const TimeField = ({ label, ...field }: FieldProps & { name: 'since' | 'until'; label: string }) => {
  const { name, filter } = field
  return (
    <label class="moment">
      <span>
        {label}, <span class="zone">UTC</span>
      </span>
      <input
        {...attributesOf(field)}
        value={filter[name] ?? filter.typed[name]}
        placeholder="2026-12-31 18:00"
        data-time
      />
      <Wrong {...field} />
    </label>
  )
}

/** What is shown, in words: the times as the reader has them. */
const Meant = ({ since, until }: AuditFilterCard) =>
  since === null && until === null ? null : (
    <p class="hint">
      What happened
      {since !== null && (
        <>
          {' since '}
          <Time at={since} />
        </>
      )}
      {until !== null && (
        <>
          {' and before '}
          <Time at={until} />
        </>
      )}
    </p>
  )

/** Stands outside of what is refreshed, and leads to an address that says all of it. */
export const AuditFilterForm = ({ filter }: { filter: AuditFilterCard }) => {
  const { typed, actors, actions } = filter
  const isFiltered = Object.values(typed).some((text) => text !== '')
  return (
    <search class="screen">
      <Spans typed={typed} />
      <form class="filter dense" method="get" action="/audit">
        <TextField name="actor" label="Who" filter={filter} list="actors" />
        <datalist id="actors">
          {actors.map((actor) => (
            <option value={actor} />
          ))}
        </datalist>
        <label>
          Action
          <ActionChoice actions={actions} typed={typed.action} />
        </label>
        <TextField name="target" label="Done to" filter={filter} placeholder="part of a name, or an id" />
        <TimeField name="since" label="Since" filter={filter} />
        <TimeField name="until" label="Until" filter={filter} />
        <button type="submit">Filter</button>
        {isFiltered && (
          <a class="button" href="/audit">
            Show all
          </a>
        )}
      </form>
      <noscript>
        <p class="hint">A time is typed in UTC, as a date, or as how long ago: 45m, 24h, 7d.</p>
      </noscript>
      <Meant {...filter} />
    </search>
  )
}
