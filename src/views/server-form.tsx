/** @jsxImportSource hono/jsx */
import type { UpstreamKind } from '../upstream.ts'
import { Choices } from './choices.tsx'
import { Crumb } from './crumb.tsx'
import { Field, type Filled as FieldsFilled, Wrong } from './field.tsx'
import { type Frame, Layout } from './layout.tsx'
import { serverHref } from './server-cells.tsx'
import { count } from './words.ts'

/** What a person typed, but never the value of a header: those are secrets, and stand in no page. */
export interface ServerTyped {
  name: string
  url: string
  kind: UpstreamKind
  path: string
  /** Names of headers whose values must be typed again. */
  headerNames: string[]
  /** Of the headers that are there already: those that got a new value, which must be typed again, and those dropped. */
  replaced: string[]
  dropped: string[]
}

/** What is wrong, by the field that it stands in. */
export type ServerFailures = Partial<Record<'name' | 'url' | 'path' | 'headers', string>>

export const KINDS: Record<Exclude<UpstreamKind, 'stdio'>, string> = {
  auto: 'Find out',
  mcp: 'MCP',
  http: 'Plain HTTP, no MCP',
}

type Filled = FieldsFilled<ServerTyped> & { failures: ServerFailures }

const Url = ({ filled }: { filled: Filled }) => (
  <Field
    name="url"
    label="URL"
    hint="Where it is, such as http://127.0.0.1:3001 or https://mcp.example.com/v2/mcp."
    filled={filled}
    inputmode="url"
    required
  />
)

const Kind = ({ kind }: { kind: UpstreamKind }) => (
  <label>
    What it speaks
    <select name="kind">
      {Object.entries(KINDS).map(([value, text]) => (
        <option value={value} selected={value === kind}>
          {text}
        </option>
      ))}
    </select>
  </label>
)

const Path = ({ filled, hint }: { filled: Filled; hint: string }) => (
  <Field name="path" label="Path (optional)" hint={hint} filled={filled} />
)

/** Values are typed here and shown nowhere: only names come back. */
const Headers = ({ label, filled: { typed, failures, focus } }: { label: string; filled: Filled }) => {
  const { headers: failure } = failures
  return (
    <>
      <label>
        {label}
        <textarea
          name="headers"
          rows={3}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          placeholder="Authorization: Bearer …"
          autofocus={focus === 'headers'}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? 'headers-hint headers-wrong' : 'headers-hint'}
        >
          {typed.headerNames.map((name) => `${name}: `).join('\n')}
        </textarea>
      </label>
      <p id="headers-hint" class="hint">
        One “Name: value” a line, sent to the server in place of what the client sent. Values are encrypted and never
        shown again.
      </p>
      <Wrong id="headers-wrong" failure={failure} />
    </>
  )
}

/** A command is for whoever may run programs on the node's machine; others are not asked. */
export const WhatToAdd = ({ is }: { is: 'url' | 'command' }) => (
  <nav class="links" aria-label="What to add">
    <a class="button" href="/servers/new" aria-current={is === 'url' ? 'page' : undefined}>
      A URL
    </a>
    <a class="button" href="/servers/new/command" aria-current={is === 'command' ? 'page' : undefined}>
      A command
    </a>
  </nav>
)

const RETYPE = 'Values of headers are not kept in a page: type them again.'

const Failed = ({
  what,
  failure,
  filled: { typed, failures },
}: {
  what: string
  failure: string | null
  filled: Filled
}) => {
  const wrong = Object.keys(failures).length
  if (failure === null && wrong === 0) return null
  return (
    <p class="failure" role="alert">
      {what} {failure ?? `${count(wrong, 'field')} below must be put right.`}{' '}
      {typed.headerNames.length + typed.replaced.length > 0 && RETYPE}
    </p>
  )
}

interface AddProps {
  frame: Frame
  /** The same form sent twice makes one server. */
  formId: string
  typed: ServerTyped
  failures: ServerFailures
  failure: string | null
  /** What the look at it found wrong; it can be added all the same. */
  unreachable: string | null
  /** Commands can be added too. */
  mayRunCommands: boolean
}

export const ServerAddPage = ({ frame, formId, typed, failures, failure, unreachable, mayRunCommands }: AddProps) => {
  const [wrong] = Object.keys(failures)
  const filled = {
    typed,
    failures,
    focus: wrong ?? (unreachable === null ? 'name' : typed.headerNames.length > 0 ? 'headers' : 'url'),
  }
  return (
    <Layout title="Add a server" frame={frame} narrow>
      <Crumb to="/servers">Servers</Crumb>
      <h1>Add a server</h1>
      {mayRunCommands && <WhatToAdd is="url" />}
      <Failed what="No server was added." failure={unreachable ?? failure} filled={filled} />
      <form class="stack" method="post" action="/servers/new" data-once>
        <input type="hidden" name="form" value={formId} />
        <Field
          name="name"
          label="Name"
          hint="It stands in URLs: a-z, 0-9, dot, dash and underscore."
          filled={filled}
          required
        />
        <Url filled={filled} />
        <Kind kind={typed.kind} />
        <Path
          filled={filled}
          hint="Completes the URL that is shown to people, such as /mcp. Empty: where MCP is found."
        />
        <Headers label="Headers (optional)" filled={filled} />
        <div class="choices">
          <button type="submit" class="main">
            {unreachable === null ? 'Look at it and add it' : 'Look again and add it'}
          </button>
          {unreachable !== null && (
            <button type="submit" name="anyway" value="yes">
              Add it all the same
            </button>
          )}
          <a class="button" href="/servers">
            Cancel
          </a>
        </div>
        <p class="hint">It is looked at first, which takes a few seconds at the most.</p>
      </form>
    </Layout>
  )
}

/** A header that the server has: its value is kept, replaced or dropped. */
const KnownHeader = ({ name, index, typed }: { name: string; index: number; typed: ServerTyped }) => {
  const isReplaced = typed.replaced.includes(name)
  return (
    <fieldset class="known">
      <legend>
        <code>{name}</code>
      </legend>
      <input type="hidden" name="known" value={name} />
      <label class="unseen" for={`value-${index}`}>{`New value of ${name}`}</label>
      <input
        id={`value-${index}`}
        name="value"
        type="text"
        placeholder={isReplaced ? 'Type its new value again' : '*** kept; type to replace it'}
        autocomplete="off"
        autocapitalize="none"
        spellcheck={false}
        aria-invalid={isReplaced ? 'true' : undefined}
      />
      <label class="check">
        <input type="checkbox" name="drop" value={name} checked={typed.dropped.includes(name)} />
        <span>Drop it</span>
      </label>
    </fieldset>
  )
}

interface EditProps {
  frame: Frame
  server: { name: string; headerNames: string[] }
  typed: ServerTyped
  failures: ServerFailures
  failure: string | null
}

export const ServerEditPage = ({ frame, server, typed, failures, failure }: EditProps) => {
  const [wrong] = Object.keys(failures)
  const filled = { typed, failures, focus: wrong ?? 'url' }
  const title = `Edit ${server.name}`
  return (
    <Layout title={title} frame={frame} narrow>
      <p class="crumb">
        <a href="/servers">Servers</a> / <a href={serverHref(server.name)}>{server.name}</a>
      </p>
      <h1>{title}</h1>
      <Failed what="Nothing was changed." failure={failure} filled={filled} />
      <form class="stack" method="post" action={`${serverHref(server.name)}/edit`} data-once>
        <Url filled={filled} />
        <Kind kind={typed.kind} />
        <Path filled={filled} hint="Completes the URL that is shown to people, such as /mcp." />
        {server.headerNames.length > 0 && (
          <>
            <h2>Headers</h2>
            {server.headerNames.map((name, index) => (
              <KnownHeader name={name} index={index} typed={typed} />
            ))}
          </>
        )}
        <Headers
          label={server.headerNames.length > 0 ? 'More headers (optional)' : 'Headers (optional)'}
          filled={filled}
        />
        <Choices verb="Save" back={serverHref(server.name)} />
        <p class="hint">Live connections go on as they were begun; the next request goes where this says.</p>
      </form>
    </Layout>
  )
}
