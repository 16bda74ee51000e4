/** @jsxImportSource hono/jsx */
import type { UpstreamKind } from '../upstream.ts'
import { FormFailure } from './failure.tsx'
import { Field, type Filled as FieldsFilled, Wrong } from './field.tsx'
import type { Frame } from './layout.tsx'
import { ServerAddFrame, ServerEditFrame } from './server-frame.tsx'

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

const RETYPE = 'Values of headers are not kept in a page: type them again.'

const Failed = ({ what, failure, filled }: { what: string; failure: string | null; filled: Filled }) => {
  const { typed, failures } = filled
  const isRetyped = typed.headerNames.length + typed.replaced.length > 0
  return <FormFailure {...{ what, failure, failures }} hint={isRetyped && RETYPE} />
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
    <ServerAddFrame
      {...{ frame, formId, filled, mayRunCommands }}
      is="url"
      failed={<Failed what="No server was added." failure={unreachable ?? failure} filled={filled} />}
      verb={unreachable === null ? 'Look at it and add it' : 'Look again and add it'}
      isAgain={unreachable !== null}
      hint="It is looked at first, which takes a few seconds at the most."
    >
      <Url filled={filled} />
      <Kind kind={typed.kind} />
      <Path
        filled={filled}
        hint="Completes the URL that is shown to people, such as /mcp. Empty: where MCP is found."
      />
      <Headers label="Headers (optional)" filled={filled} />
    </ServerAddFrame>
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
  return (
    <ServerEditFrame
      {...{ frame, name: server.name }}
      failed={<Failed what="Nothing was changed." failure={failure} filled={filled} />}
      hint="Live connections go on as they were begun; the next request goes where this says."
    >
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
    </ServerEditFrame>
  )
}
