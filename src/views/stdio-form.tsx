/** @jsxImportSource hono/jsx */
import { limits } from '../limits.ts'
import { sizeText } from '../size.ts'
import { formatDuration } from '../time.ts'
import { FormFailure } from './failure.tsx'
import { Field, type Filled as FieldsFilled, Wrong } from './field.tsx'
import type { Frame } from './layout.tsx'
import { ServerAddFrame, ServerEditFrame } from './server-frame.tsx'
import { processes } from './stdio-facts.tsx'
import { Stderr, type StderrLine } from './stdio-stderr.tsx'

/** What a person typed, but no value of a variable: those are secrets, and stand in no page. */
export interface StdioTyped {
  name: string
  /** One argument a line. */
  command: string
  /** One `NAME=***` a line, and the name alone where its value must be typed again. */
  env: string
  isRetyped: boolean
  shared: boolean
  user: string
  sandbox: boolean
  /** One path a line. */
  allow: string
  noNetwork: boolean
  everywhere: boolean
  idle: string
  memory: string
  cpuTime: string
}

/** The limits of who asks for no others. */
export const USUAL: Pick<StdioTyped, 'idle' | 'memory' | 'cpuTime'> = {
  idle: formatDuration(limits.stdioIdleMs),
  memory: sizeText(limits.stdioMemoryBytes),
  cpuTime: '',
}

/** What is wrong, by the field that it stands in. */
export type StdioFailures = { [K in keyof StdioTyped]?: string }

type Filled = FieldsFilled<StdioTyped>

interface LinesProps {
  name: 'command' | 'env' | 'allow'
  label: string
  hint: string
  placeholder: string
  rows: number
  filled: Filled
  required?: boolean
}

const Lines = ({ name, label, hint, placeholder, rows, filled: { typed, failures, focus }, required }: LinesProps) => {
  const failure = failures[name]
  return (
    <>
      <label>
        {label}
        <textarea
          name={name}
          rows={rows}
          required={required}
          autocomplete="off"
          autocapitalize="none"
          spellcheck={false}
          placeholder={placeholder}
          autofocus={focus === name}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? `${name}-hint ${name}-wrong` : `${name}-hint`}
        >
          {typed[name]}
        </textarea>
      </label>
      <p id={`${name}-hint`} class="hint">
        {hint}
      </p>
      <Wrong id={`${name}-wrong`} failure={failure} />
    </>
  )
}

interface SwitchProps {
  name: 'shared' | 'sandbox' | 'noNetwork' | 'everywhere'
  label: string
  hint: string
  filled: Filled
}

const Switch = ({ name, label, hint, filled: { typed, failures } }: SwitchProps) => {
  const failure = failures[name]
  return (
    <div class="option">
      <label class="check">
        <input
          type="checkbox"
          name={name}
          value="yes"
          checked={typed[name]}
          aria-invalid={failure && 'true'}
          aria-describedby={failure ? `${name}-hint ${name}-wrong` : `${name}-hint`}
        />
        <span>{label}</span>
      </label>
      <p id={`${name}-hint`} class="hint">
        {hint}
      </p>
      <Wrong id={`${name}-wrong`} failure={failure} />
    </div>
  )
}

const What = ({ filled }: { filled: Filled }) => (
  <>
    <Lines
      name="command"
      label="Command"
      hint="One argument a line, just as the program gets it: no shell reads it. A single line is taken apart at its spaces, quotes are understood."
      placeholder={'npx\n-y\n@modelcontextprotocol/server-filesystem\n/data'}
      rows={5}
      filled={filled}
      required
    />
    <Lines
      name="env"
      label="Environment (optional)"
      hint="One NAME=value a line, besides PATH, HOME and LANG. Values are encrypted and never shown again; *** keeps one."
      placeholder="API_KEY=…"
      rows={3}
      filled={filled}
    />
  </>
)

/** Whether one of them is set, or wrong. */
const isOpen = ({ typed, failures }: Filled, fields: readonly (keyof StdioTyped)[]): boolean =>
  fields.some((field) => typed[field] || failures[field])

const Confinement = ({ filled }: { filled: Filled }) => (
  <details open={isOpen(filled, ['sandbox', 'noNetwork', 'allow', 'user'])}>
    <summary>What it may reach: sandbox, user (optional)</summary>
    <div class="stack">
      <Switch
        name="sandbox"
        label="In a sandbox"
        hint="The system is read-only, other people's files are not there, and a folder of its own is writable. Needs bubblewrap."
        filled={filled}
      />
      <Switch name="noNetwork" label="Without network" hint="Only in the sandbox." filled={filled} />
      <Lines
        name="allow"
        label="Paths it may write to (optional)"
        hint="Only in the sandbox. One a line; with :ro at its end it may be read alone."
        placeholder="/data"
        rows={2}
        filled={filled}
      />
      <Field
        name="user"
        label="User (optional)"
        hint="Who runs it, by the name on this machine. Empty: whoever runs the gate."
        filled={filled}
      />
    </div>
  </details>
)

const LIMITS = ['idle', 'memory', 'cpuTime'] as const

const isUsual = ({ typed, failures }: Filled): boolean =>
  LIMITS.every((field) => typed[field] === USUAL[field] && !failures[field])

const Processes = ({ filled, isClustered }: { filled: Filled; isClustered: boolean }) => (
  <details open={!isUsual(filled) || isOpen(filled, ['shared', 'everywhere'])}>
    <summary>How many processes, and their limits (optional)</summary>
    <div class="stack">
      <Switch
        name="shared"
        label="One for all clients"
        hint="For servers that keep nothing by client. Else each session has a process of its own."
        filled={filled}
      />
      {isClustered && (
        <>
          <input type="hidden" name="clustered" value="yes" />
          <Switch
            name="everywhere"
            label="On every node"
            hint="The program must be there on each of them. Else it runs only on the node where it was added."
            filled={filled}
          />
        </>
      )}
      <Field name="idle" label="Ends when unused for" hint="Such as 10m or 12h." filled={filled} />
      <Field name="memory" label="Memory of each" hint="Its data, such as 512MiB or 1GiB." filled={filled} />
      <Field
        name="cpuTime"
        label="CPU time of each (optional)"
        hint="In its whole life, such as 1h. Empty: no limit."
        filled={filled}
      />
    </div>
  </details>
)

const RETYPE = 'Values of the environment are not kept in a page: type them again.'

const Failed = ({ what, failure, filled }: { what: string; failure: string | null; filled: Filled }) => {
  const { typed, failures } = filled
  return <FormFailure {...{ what, failure, failures }} hint={typed.isRetyped && RETYPE} />
}

interface Shown {
  frame: Frame
  typed: StdioTyped
  failures: StdioFailures
  failure: string | null
  isClustered: boolean
}

interface AddProps extends Shown {
  /** The same form sent twice makes one server. */
  formId: string
  /** What the look at it found wrong, and what it said itself; it can be added all the same. */
  unreachable: { say: string; stderr: readonly StderrLine[] } | null
}

export const CommandAddPage = ({ frame, formId, typed, failures, failure, isClustered, unreachable }: AddProps) => {
  const [wrong] = Object.keys(failures)
  const focus = wrong ?? (unreachable === null ? 'name' : typed.isRetyped ? 'env' : 'command')
  const filled = { typed, failures, focus }
  return (
    <ServerAddFrame
      {...{ frame, formId, filled }}
      is="command"
      mayRunCommands
      failed={
        <>
          <Failed what="No server was added." failure={unreachable?.say ?? failure} filled={filled} />
          {unreachable !== null && <Stderr lines={unreachable.stderr} isOpen />}
        </>
      }
      verb={unreachable === null ? 'Start it and add it' : 'Start it again and add it'}
      isAgain={unreachable !== null}
      hint="It is started once to see whether it answers: up to a minute where it has to be fetched first."
    >
      <What filled={filled} />
      <Confinement filled={filled} />
      <Processes {...{ filled, isClustered }} />
    </ServerAddFrame>
  )
}

interface EditProps extends Shown {
  /** Its name, and how many of its processes run. */
  server: { name: string; processes: number }
}

export const CommandEditPage = ({ frame, server, typed, failures, failure, isClustered }: EditProps) => {
  const [wrong] = Object.keys(failures)
  const filled = { typed, failures, focus: wrong ?? 'command' }
  const running = server.processes > 0 && processes(server.processes)
  return (
    <ServerEditFrame
      {...{ frame, name: server.name }}
      failed={<Failed what="Nothing was changed." failure={failure} filled={filled} />}
      hint={
        running
          ? `A change ends what runs now (${running}); clients start again.`
          : 'The next client gets what this says.'
      }
    >
      <What filled={filled} />
      <Confinement filled={filled} />
      <Processes {...{ filled, isClustered }} />
    </ServerEditFrame>
  )
}
