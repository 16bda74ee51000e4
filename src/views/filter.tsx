/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

type FilterFormProps = {
  /** Where the list is; what is typed is posted to `/filter` below it. */
  list: string
  /** What a word is looked for in. */
  label: string
  q: string
  lengthMax: number
  /** Other fields; and, after the buttons, what came with the address and can only be taken away. */
  children: Child
  kept?: Child
}

/**
 * Stands outside of what is refreshed. Its fields go in a body, since somebody may paste a secret; the answer is the
 * list at an address without one, and what is fetched from then on.
 */
export const FilterForm = ({ list, label, q, lengthMax, children, kept }: FilterFormProps) => (
  <form
    class="filter"
    method="post"
    action={`${list}/filter`}
    role="search"
    hx-post={`${list}/filter`}
    hx-target="#live"
    hx-select="#live"
    hx-swap="outerMorph ignoreTitle:true"
    hx-trigger="input delay:150ms"
    hx-sync="#live:replace"
  >
    <label class="wide">
      {label}
      <input
        name="q"
        type="search"
        value={q}
        maxlength={lengthMax}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
      />
    </label>
    {children}
    <button type="submit">Filter</button>
    <a class="button" href={list}>
      Clear
    </a>
    {kept}
  </form>
)

type KeptProps = { name: string; label: string; value: string; text?: string; without: string }

/** What came with the address, and the way to the list without it. */
export const Kept = ({ name, label, value, text = value, without }: KeptProps) =>
  value === '' ? null : (
    <p class="kept">
      <input type="hidden" name={name} value={value} />
      {label} <bdi>{text}</bdi>
      <a class="button" href={without} aria-label={`Any ${name}`}>
        ✕
      </a>
    </p>
  )

type ChoiceProps = { name: string; label: string; any?: string; options: Record<string, string>; value: string }

export const Choice = ({ name, label, any, options, value }: ChoiceProps) => (
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
