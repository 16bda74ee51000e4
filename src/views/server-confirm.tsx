/** @jsxImportSource hono/jsx */
import { ConfirmationPage } from './confirm.tsx'
import type { Frame } from './layout.tsx'
import { serverHref } from './server-cells.tsx'
import { count, number } from './words.ts'

/** What would be cut. */
export interface ServerDoomed {
  name: string
  connections: number
  /** Of so many tokens are the connections. */
  tokens: number
  /** Live tokens that reach it, and those of them that reach nothing else. */
  reach: number
  reachOnly: number
  isCommand: boolean
}

export const doomedText = ({ connections, tokens }: { connections: number; tokens: number }): string =>
  connections === 0 ? 'No live connection' : `${count(connections, 'live connection')} of ${count(tokens, 'token')}`

const Doomed = ({ doomed }: { doomed: ServerDoomed }) => (
  <p>
    <strong>{doomedText(doomed)}</strong> at <bdi>{doomed.name}</bdi>
    {doomed.connections === 0 ? ' now.' : ', cut at once.'}
  </p>
)

/** A reason, for a closing or an opening. The field takes the focus: see `ConfirmationPage`. */
export const ReasonField = ({ lengthMax, hint }: { lengthMax: number; hint: string }) => (
  <>
    <label>
      Reason (optional)
      <input name="reason" maxlength={lengthMax} autocomplete="off" autofocus aria-describedby="reason-hint" />
    </label>
    <p id="reason-hint" class="hint">
      {hint}
    </p>
  </>
)

/** Takes the focus where there is no field: see `ConfirmationPage`. */
const Say = ({ children }: { children: string }) => (
  <p class="say" tabindex={-1} autofocus>
    {children}
  </p>
)

type Props = { frame: Frame; doomed: ServerDoomed }

export const ServerClosePage = ({ frame, doomed, reasonLengthMax }: Props & { reasonLengthMax: number }) => (
  <ConfirmationPage
    frame={frame}
    title={`Close ${doomed.name}?`}
    action={`/servers/${encodeURIComponent(doomed.name)}/gate`}
    verb={`Close ${doomed.name}`}
    back={serverHref(doomed.name)}
    doomed={
      <>
        <Doomed doomed={doomed} />
        <p>
          {doomed.reach === 0
            ? 'No token reaches it now.'
            : `${count(doomed.reach, 'token')} that ${doomed.reach === 1 ? 'reaches' : 'reach'} it will be refused here until it is opened again; they stay valid.`}
        </p>
      </>
    }
  >
    <input type="hidden" name="state" value="closed" />
    <ReasonField lengthMax={reasonLengthMax} hint="It stands on its page and in the audit log." />
  </ConfirmationPage>
)

export const ServerKillPage = ({ frame, doomed }: Props) => (
  <ConfirmationPage
    frame={frame}
    title={`Kill the connections of ${doomed.name}?`}
    action={`/servers/${encodeURIComponent(doomed.name)}/kill`}
    verb={doomed.connections === 0 ? 'Kill what is connected' : `Kill ${count(doomed.connections, 'connection')}`}
    back={serverHref(doomed.name)}
    doomed={<Doomed doomed={doomed} />}
  >
    <Say>Tokens stay valid and the gate stays as it is: clients may come back at once. To keep them out, close it.</Say>
  </ConfirmationPage>
)

export const ServerRemovalPage = ({ frame, doomed }: Props) => (
  <ConfirmationPage
    frame={frame}
    title={`Remove ${doomed.name}?`}
    action={`/servers/${encodeURIComponent(doomed.name)}/removal`}
    verb={`Remove ${doomed.name}`}
    back={serverHref(doomed.name)}
    doomed={
      <>
        <Doomed doomed={doomed} />
        <p>
          {count(doomed.reach, 'live token')} {doomed.reach === 1 ? 'loses' : 'lose'} it
          {doomed.reachOnly > 0 &&
            `; ${number(doomed.reachOnly)} of them then ${doomed.reachOnly === 1 ? 'reaches' : 'reach'} nothing`}
          . Its {doomed.isCommand ? 'command and environment' : 'URL, kind and credentials'} are gone
          {doomed.isCommand && '; its processes end, and the folder that they worked in stays'}.
        </p>
      </>
    }
  >
    <Say>
      A server that is added under the same name later is another one: no token of today reaches it. To stop it for a
      while, close it.
    </Say>
  </ConfirmationPage>
)
