/** @jsxImportSource hono/jsx */
import { shellWords } from '../shell-word.ts'
import { sizeText } from '../size.ts'
import { formatDuration } from '../time.ts'
import { Copyable } from './copy.tsx'
import { Fact, Secrets } from './fact.tsx'
import type { StderrLine } from './stdio-stderr.tsx'
import { Countdown, Time } from './time.tsx'
import { count, number } from './words.ts'

/** A server that is a command, as the API shows it. */
export interface StdioCard {
  command: string[]
  env: Record<string, string>
  shared: boolean
  user: string | null
  sandbox: boolean
  allow: string[]
  network: boolean
  idleMs: number
  memoryBytes: number
  cpuTimeMs: number | null
  everywhere: boolean
  /** The one node that runs it; null: all do, or there is no cluster. */
  node: string | null
  status: {
    processes: number
    startedInAll: number
    crashes: number
    lastCrash: { at: string; detail: string } | null
    retryAt: string | null
    stderr: StderrLine[]
  }
}

/** How it is run where that is not the usual way, in a word each. */
export const Marks = ({ stdio }: { stdio: StdioCard }) => {
  const marks = [
    stdio.shared && 'shared',
    stdio.sandbox && 'sandbox',
    !stdio.network && 'no network',
    stdio.user !== null && `as ${stdio.user}`,
    stdio.everywhere && 'everywhere',
    stdio.node !== null && `on ${stdio.node}`,
  ].filter((mark) => mark !== false)
  return marks.length === 0 ? null : (
    <span class="tags">
      {marks.map((mark) => (
        <bdi class="tag">{mark}</bdi>
      ))}
    </span>
  )
}

export const processes = (n: number): string => count(n, 'process', 'processes')

const Confinement = ({ stdio: { user, sandbox, allow, network } }: { stdio: StdioCard }) => (
  <>
    {user === null ? (
      'As whoever runs the gate'
    ) : (
      <>
        As the user <bdi>{user}</bdi>
      </>
    )}
    {sandbox ? ', in a sandbox' : ', in no sandbox'}
    {!network && ' without network'}
    {allow.length > 0 && (
      <ul>
        {allow.map((path) => (
          <li>
            <code>{path.replace(/:ro$/, '')}</code>{' '}
            <span class="quiet">{path.endsWith(':ro') ? 'may be read' : 'may be written to'}</span>
          </li>
        ))}
      </ul>
    )}
  </>
)

const Limits = ({ stdio: { shared, idleMs, memoryBytes, cpuTimeMs } }: { stdio: StdioCard }) => (
  <>
    {shared ? 'One process for all clients' : 'One process a session'}
    <span class="detail">
      Ends when unused for {formatDuration(idleMs)}; at most {sizeText(memoryBytes)} of memory
      {cpuTimeMs !== null && ` and ${formatDuration(cpuTimeMs)} of CPU time`} each
    </span>
  </>
)

/** What runs now, and what went wrong. */
const Running = ({ stdio: { status }, now }: { stdio: StdioCard; now: number }) => {
  const { startedInAll, crashes, lastCrash, retryAt } = status
  return (
    <>
      {status.processes === 0 ? <span class="quiet">none</span> : number(status.processes)}
      {startedInAll > 0 && (
        <span class="detail">
          {count(startedInAll, 'start')} and {count(crashes, 'crash', 'crashes')} since the node started
        </span>
      )}
      {lastCrash !== null && (
        <span class="detail">
          The last crash: <bdi>{lastCrash.detail}</bdi>, <Time at={lastCrash.at} exact />
          {retryAt !== null && (
            <>
              ; the next start in <Countdown until={retryAt} now={now} />
            </>
          )}
        </span>
      )}
    </>
  )
}

interface FactsProps {
  stdio: StdioCard
  /** This node is not the one that runs it. */
  isElsewhere: boolean
  now: number
}

/** What stands on the page of a server in place of where it is and what is sent along. */
export const StdioFacts = ({ stdio, isElsewhere, now }: FactsProps) => (
  <>
    <Fact term="Runs">
      <Copyable id="command" what="the command">
        {shellWords(stdio.command)}
      </Copyable>
    </Fact>
    {(stdio.node !== null || stdio.everywhere) && (
      <Fact term="Runs on">
        {stdio.node === null ? 'every node' : <bdi>{stdio.node}</bdi>}
        {isElsewhere && <span class="detail">This node answers 421: clients reach it by the gate of that one.</span>}
      </Fact>
    )}
    {!isElsewhere && (
      <Fact term="Processes now">
        <Running {...{ stdio, now }} />
      </Fact>
    )}
    <Fact term="How many">
      <Limits stdio={stdio} />
    </Fact>
    <Fact term="Confined">
      <Confinement stdio={stdio} />
    </Fact>
    <Fact term="Environment">
      <Secrets names={Object.keys(stdio.env)} none="PATH, HOME and LANG alone" />
    </Fact>
  </>
)
