/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import { Choices } from './choices.tsx'
import { ConfirmationPage } from './confirm.tsx'
import { type Frame, Layout } from './layout.tsx'
import { type OutcomeCard, OutcomePage } from './outcome.tsx'
import { serverHref } from './server-cells.tsx'
import { doomedText, ReasonField } from './server-confirm.tsx'
import { count, number } from './words.ts'

/** What one types to close every gate. */
export const PANIC_WORD = 'close'

export interface GateDoomed {
  servers: number
  /** Of them, those that are closed already. */
  closed: number
  connections: number
  tokens: number
}

type PanicProps = {
  frame: Frame
  doomed: GateDoomed
  /** Another word was typed, and nothing happened. */
  isWrong: boolean
  reason: string
  reasonLengthMax: number
}

/** Everything at once is behind a word, so that no slip of a thumb does it. */
export const PanicPage = ({ frame, doomed, isWrong, reason, reasonLengthMax }: PanicProps) => (
  <ConfirmationPage
    frame={frame}
    title="Close every gate?"
    action="/gate"
    verb="Close every gate"
    back="/"
    doomed={
      <>
        <p>
          <strong>{doomedText(doomed)}</strong> on {count(doomed.servers, 'server')}
          {doomed.closed > 0 && `, ${number(doomed.closed)} of them closed already`}
          {doomed.connections === 0 ? '.' : ': cut at once.'}
        </p>
        <p>Every client is refused until you open again. Tokens stay valid.</p>
      </>
    }
  >
    {isWrong && (
      <p class="failure" role="alert">
        That is another word: nothing happened, and all is as it was.
      </p>
    )}
    <input type="hidden" name="state" value="closed" />
    <label>
      <span>
        Type <strong>{PANIC_WORD}</strong> to do it
      </span>
      <input
        name="word"
        required
        autofocus
        autocomplete="off"
        autocapitalize="none"
        autocorrect="off"
        spellcheck={false}
        aria-invalid={isWrong ? 'true' : undefined}
      />
    </label>
    <label>
      Reason (optional)
      <input name="reason" value={reason} maxlength={reasonLengthMax} autocomplete="off" />
    </label>
  </ConfirmationPage>
)

interface OpenProps {
  frame: Frame
  title: string
  action: string
  verb: string
  back: string
  reasonLengthMax: number
  children: Child
}

/** Opening kills nothing: the same two steps, without the red. */
const OpenPage = ({ frame, title, action, verb, back, reasonLengthMax, children }: OpenProps) => (
  <Layout title={title} frame={frame} narrow>
    <h1 id="title">{title}</h1>
    {children}
    <form class="stack" method="post" action={action} data-once>
      <input type="hidden" name="state" value="open" />
      <ReasonField lengthMax={reasonLengthMax} hint="It stands in the audit log." />
      <Choices verb={verb} back={back} />
    </form>
  </Layout>
)

type Closed = { name: string; reason: string | null }

type ServerOpenProps = { frame: Frame; server: Closed; isOpen: boolean; reach: number; reasonLengthMax: number }

export const ServerOpenPage = ({ frame, server, isOpen, reach, reasonLengthMax }: ServerOpenProps) => (
  <OpenPage
    frame={frame}
    title={`Open ${server.name}?`}
    action={`${serverHref(server.name)}/gate`}
    verb={`Open ${server.name}`}
    back={serverHref(server.name)}
    reasonLengthMax={reasonLengthMax}
  >
    <p>
      {isOpen ? 'It is open already.' : `${count(reach, 'live token')} may reach it again at once.`}
      {server.reason !== null && (
        <>
          {' '}
          It was closed because: <bdi>{server.reason}</bdi>
        </>
      )}
    </p>
  </OpenPage>
)

/** Closed ones by name; past a screenful only how many. */
const ClosedList = ({ closed, shownMax }: { closed: Closed[]; shownMax: number }) => (
  <>
    <ul>
      {closed.slice(0, shownMax).map(({ name, reason }) => (
        <li>
          <a href={serverHref(name)}>{name}</a>
          {reason !== null && (
            <span class="detail">
              <bdi>{reason}</bdi>
            </span>
          )}
        </li>
      ))}
    </ul>
    {closed.length > shownMax && (
      <p>
        <a href="/servers?show=closed">and {number(closed.length - shownMax)} more</a>
      </p>
    )}
  </>
)

type AllProps = { frame: Frame; closed: Closed[]; shownMax: number; reasonLengthMax: number }

export const GateOpenPage = ({ frame, closed, shownMax, reasonLengthMax }: AllProps) => (
  <OpenPage
    frame={frame}
    title="Open every gate?"
    action="/gate"
    verb="Open every gate"
    back="/"
    reasonLengthMax={reasonLengthMax}
  >
    {closed.length === 0 ? (
      <p>Every server is open already.</p>
    ) : (
      <>
        <p>
          {closed.length === 1 ? 'This one is' : `These ${number(closed.length)} are`} opened, also what was closed by
          itself before:
        </p>
        <ClosedList closed={closed} shownMax={shownMax} />
      </>
    )}
  </OpenPage>
)

/** Where there is nothing behind the gate, nothing can be closed. */
export const NoServersPage = ({ frame }: { frame: Frame }) => (
  <Layout title="No gate to close" frame={frame} narrow>
    <h1 id="title">No gate to close</h1>
    <p>There is no server yet, so that nothing can be reached.</p>
    <div class="choices">
      <a class="button" href="/servers" data-close autofocus>
        Back
      </a>
    </div>
  </Layout>
)

type GateClosedProps = { frame: Frame; outcome: OutcomeCard; closed: Closed[]; shownMax: number; mayOpen: boolean }

export const GateClosedPage = ({ frame, outcome, closed, shownMax, mayOpen }: GateClosedProps) => (
  <OutcomePage frame={frame} title="Every gate is closed" outcome={outcome}>
    <section aria-labelledby="again-title">
      <h2 id="again-title">To open again</h2>
      {mayOpen ? (
        <p>Each server by itself, on its page, or all of them at once.</p>
      ) : (
        <p>Sign in again once the database can be written: only closing works until then.</p>
      )}
      <ClosedList closed={closed} shownMax={shownMax} />
      {mayOpen && (
        <p>
          <a class="button" href="/gate?state=open">
            Open every gate
          </a>
        </p>
      )}
    </section>
    <p class="links">
      <a href="/">Overview</a>
      <a href="/servers">Servers</a>
    </p>
  </OutcomePage>
)

export const GateOpenedPage = ({ frame, outcome }: { frame: Frame; outcome: OutcomeCard }) => (
  <OutcomePage frame={frame} title="Every gate is open" outcome={outcome}>
    <p>Clients may come back at once.</p>
    <p class="links">
      <a href="/">Overview</a>
      <a href="/servers">Servers</a>
    </p>
  </OutcomePage>
)
