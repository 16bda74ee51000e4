/** @jsxImportSource hono/jsx */
import type { CallCounts } from '../activity.ts'
import { Cell, HeadCell, Row, Table } from './table.tsx'
import { Time } from './time.tsx'
import { tokenPath, type TokenView, type Window, WINDOWS } from './token-view.ts'
import { bytes, count, number } from './words.ts'

type Counted = Omit<CallCounts, 'firstAt' | 'lastAt'>
type Line = Counted & { firstAt: string; lastAt: string }

export interface ActivityCard extends Counted {
  tools: (Line & { server: string; name: string })[]
  methods: (Line & { server: string; method: string })[]
  addresses: (Line & { address: string })[]
  clients: (Line & { client: string })[]
}

type CountsProps<T> = {
  id: string
  title: string
  /** The column that names a row, and the server where one is named by it too. */
  named: [label: string, of: (line: T) => string]
  server?: (line: T) => string
  lines: T[]
  linesMax: number
}

const COLUMNS = ['Calls', 'Errors', 'Refused', 'Arguments', 'First', 'Last']

const CountsTable = <T extends Line>({
  id,
  title,
  named: [label, nameOf],
  server,
  lines,
  linesMax,
}: CountsProps<T>) => (
  <section class="counts" aria-labelledby={id}>
    <h3 id={id}>{title}</h3>
    <Table labelledBy={id} columns={[label, ...(server ? ['Server'] : []), ...COLUMNS]}>
      {lines.slice(0, linesMax).map((line, index) => (
        <Row id={`${id}-${index}`}>
          <HeadCell label={label}>
            <bdi>{nameOf(line)}</bdi>
          </HeadCell>
          {server && <Cell label="Server">{server(line)}</Cell>}
          <Cell label="Calls" kind="number">
            {number(line.calls)}
          </Cell>
          <Cell label="Errors" kind="number">
            {number(line.errors)}
          </Cell>
          <Cell label="Refused" kind="number">
            {number(line.refused)}
          </Cell>
          <Cell label="Arguments" kind="number">
            {bytes(line.argumentBytes)}
          </Cell>
          <Cell label="First">
            <Time at={line.firstAt} />
          </Cell>
          <Cell label="Last">
            <Time at={line.lastAt} />
          </Cell>
        </Row>
      ))}
    </Table>
    {lines.length > linesMax && (
      <p class="hint">
        The {number(linesMax)} most called are shown; JSON and CSV have {number(lines.length - linesMax)} more.
      </p>
    )}
  </section>
)

const serverOf = ({ server }: { server: string }) => server

const Tables = ({ activity, linesMax }: { activity: ActivityCard; linesMax: number }) => {
  const { tools, methods, addresses, clients } = activity
  return (
    <>
      {tools.length > 0 && (
        <CountsTable
          id="tools"
          title="Tools"
          named={['Tool', ({ name }) => name]}
          server={serverOf}
          lines={tools}
          linesMax={linesMax}
        />
      )}
      <CountsTable
        id="addresses"
        title="Addresses"
        named={['Address', ({ address }) => address]}
        lines={addresses}
        linesMax={linesMax}
      />
      {clients.length > 0 && (
        <CountsTable
          id="clients"
          title="Clients"
          named={['Client', ({ client }) => client]}
          lines={clients}
          linesMax={linesMax}
        />
      )}
      <CountsTable
        id="methods"
        title="Methods"
        named={['Method', ({ method }) => method]}
        server={serverOf}
        lines={methods}
        linesMax={linesMax}
      />
    </>
  )
}

const Windows = ({ tokenId, view }: { tokenId: string; view: TokenView }) => (
  <nav class="windows" aria-label="How far back">
    {(Object.keys(WINDOWS) as Window[]).map((since) => (
      <a
        class="button"
        href={`${tokenPath(tokenId, { ...view, since })}#activity`}
        aria-current={since === view.since ? 'page' : undefined}
      >
        {WINDOWS[since]}
      </a>
    ))}
  </nav>
)

type ActivityProps = { tokenId: string; view: TokenView; activity: ActivityCard; linesMax: number }

export const TokenActivity = ({ tokenId, view, activity, linesMax }: ActivityProps) => {
  const { calls, errors, refused, argumentBytes } = activity
  const window = view.since
  const json = `/api/v1/tokens/${tokenId}/activity?since=${window}`
  const isQuiet = activity.methods.length === 0
  return (
    <section aria-labelledby="activity">
      <div class="heading">
        <h2 id="activity">What it did</h2>
        <Windows tokenId={tokenId} view={view} />
      </div>
      <p class="totals">
        {isQuiet
          ? `Nothing in the last ${WINDOWS[window]}.`
          : `${count(calls, 'call')}, ${count(errors, 'error')}, ${number(refused)} refused, ` +
            `${bytes(argumentBytes)} of arguments in the last ${WINDOWS[window]}.`}
      </p>
      {!isQuiet && <Tables activity={activity} linesMax={linesMax} />}
      {!isQuiet && (
        <p class="links">
          <a href={`${json}&format=csv`} download={`activity-${tokenId}.csv`}>
            All of it as CSV
          </a>
          <a href={json}>as JSON</a>
        </p>
      )}
    </section>
  )
}
