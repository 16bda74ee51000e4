/** @jsxImportSource hono/jsx */
import type { ConnectionKind } from '../registry.ts'
import { Crumb } from './crumb.tsx'
import { DangerLink } from './danger.tsx'
import { Empty } from './empty.tsx'
import { Fact, Secrets } from './fact.tsx'
import { type Frame, Layout, Live } from './layout.tsx'
import { Errors, Gate, PublicUrl, type ServerCard, serverHref } from './server-cells.tsx'
import { KINDS } from './server-form.tsx'
import { StdioFacts } from './stdio-facts.tsx'
import { Stderr } from './stdio-stderr.tsx'
import { Cell, HeadCell, Row, Table, Text } from './table.tsx'
import { Time } from './time.tsx'
import { age, bytes, count, number } from './words.ts'

/** A live connection, as far as a server's page names it. */
export interface ServerConnection {
  id: string
  kind: ConnectionKind
  token: { id: string; name: string; subject: string | null }
  client: string | null
  address: string
  startedAt: string
  ageMs: number
  bytesOut: number
}

export interface ServerPageCard {
  server: ServerCard
  /** Live tokens that reach it. */
  tokens: number
  /** The first of them. */
  connections: ServerConnection[]
  /** Another node of the cluster alone runs its command. */
  isElsewhere: boolean
  now: number
}

const Answers = ({ health: { reachable, detail, lookedAt } }: ServerCard) => {
  if (lookedAt === null || reachable === null) return <span class="quiet">not looked yet</span>
  return (
    <>
      <span class={`status ${reachable ? 'reachable' : 'unreachable'}`}>
        {reachable ? 'reachable' : 'not reachable'}
      </span>
      <span class="detail">
        <bdi>{detail}</bdi> <Time at={lookedAt} exact />
      </span>
    </>
  )
}

const Found = ({ stdio, health: { mcp, reachable } }: ServerCard) => {
  if (mcp === null) return <span class="quiet">{reachable ? 'no MCP was found' : 'unknown'}</span>
  return (
    <>
      <bdi>{mcp.name ?? 'unnamed'}</bdi> {mcp.version !== null && <bdi>{mcp.version}</bdi>}
      <span class="detail">
        revision {mcp.revision} over {stdio ? 'stdio' : mcp.transport === 'sse' ? 'HTTP+SSE' : 'HTTP'},{' '}
        {mcp.tools === null ? 'tools not listed' : count(mcp.tools, 'tool')}
      </span>
    </>
  )
}

const Reach = ({ name, tokens, mayMakeTokens }: { name: string; tokens: number; mayMakeTokens: boolean }) =>
  tokens > 0 ? (
    <a href={`/tokens?server=${encodeURIComponent(name)}`}>{count(tokens, 'live token')}</a>
  ) : (
    <>
      <span class="quiet">no live token</span>
      {mayMakeTokens && (
        <>
          {' · '}
          <a href={`/tokens/new?server=${encodeURIComponent(name)}`}>make one</a>
        </>
      )}
    </>
  )

/** What is secret, by its name alone. */
const UrlFacts = ({ server }: { server: ServerCard }) => (
  <>
    <Fact term="Goes to">
      <code>{server.url}</code>
      {server.kind !== 'auto' && server.kind !== 'stdio' && <span class="detail">{KINDS[server.kind]}</span>}
    </Fact>
    <Fact term="Headers sent">
      <Secrets names={Object.keys(server.headers)} none="none of its own" />
    </Fact>
  </>
)

type FactsProps = { card: ServerPageCard; mayMakeTokens: boolean }

const Facts = ({ card: { server, tokens, isElsewhere, now }, mayMakeTokens }: FactsProps) => (
  <dl class="card">
    <Fact term="Gate">
      <Gate {...server} />
    </Fact>
    <Fact term="Health">
      <Answers {...server} />
    </Fact>
    <Fact term="MCP">
      <Found {...server} />
    </Fact>
    <Fact term="URL for clients">
      <PublicUrl {...server} />
    </Fact>
    <Fact term="Reached by">
      <Reach name={server.name} {...{ tokens, mayMakeTokens }} />
    </Fact>
    <Fact term="Errors, 1 h">
      <Errors {...server} />
    </Fact>
    {server.stdio === null ? (
      <UrlFacts server={server} />
    ) : (
      <StdioFacts stdio={server.stdio} {...{ isElsewhere, now }} />
    )}
    <Fact term="Added">
      <Time at={server.createdAt} />
    </Fact>
  </dl>
)

const ConnectionLine = ({ connection }: { connection: ServerConnection }) => (
  <Row id={`connection-${connection.id}`}>
    <HeadCell label="Token">
      <a href={`/tokens/${connection.token.id}`}>
        <bdi>{connection.token.name}</bdi>
      </a>
      {connection.token.subject !== null && (
        <span class="detail">
          <bdi>{connection.token.subject}</bdi>
        </span>
      )}
    </HeadCell>
    <Cell label="Kind">{connection.kind}</Cell>
    <Cell label="Client">
      <bdi>
        <Text of={connection.client} />
      </bdi>
    </Cell>
    <Cell label="Address">{connection.address}</Cell>
    <Cell label="Age" kind="number">
      <time datetime={connection.startedAt} data-keep>
        {age(connection.ageMs)}
      </time>
    </Cell>
    <Cell label="Bytes out" kind="number">
      {bytes(connection.bytesOut)}
    </Cell>
  </Row>
)

type ConnectionsProps = { card: ServerPageCard; mayAct: boolean }

const Connections = ({ card: { server, connections }, mayAct }: ConnectionsProps) => {
  const isMore = server.connections > connections.length
  return (
    <section aria-labelledby="connections-title">
      <div class="heading">
        <h2 id="connections-title">Live connections</h2>
        {(isMore || (mayAct && server.connections > 0)) && (
          <a href={`/connections?server=${encodeURIComponent(server.name)}`}>
            {isMore ? `All ${number(server.connections)}` : 'Kill single ones'}
          </a>
        )}
      </div>
      {connections.length === 0 ? (
        <Empty title="Nothing is connected">
          <p>
            {server.state === 'closed' ? 'It is closed.' : 'What a client opens to this server stands here at once.'}
          </p>
        </Empty>
      ) : (
        <Table labelledBy="connections-title" columns={['Token', 'Kind', 'Client', 'Address', 'Age', 'Bytes out']}>
          {connections.map((connection) => (
            <ConnectionLine connection={connection} />
          ))}
        </Table>
      )}
    </section>
  )
}

/** What kills, each with what it does in words. */
const Deadly = ({ server: { name, stdio }, mayRemove }: { server: ServerCard; mayRemove: boolean }) => {
  const path = serverHref(name)
  return (
    <section class="card deadly" aria-labelledby="deadly-title">
      <h2 id="deadly-title">Cut it off</h2>
      <ul class="deeds">
        <li>
          <span>
            <strong>Close</strong> cuts every live connection and refuses all until it is opened again. Tokens stay
            valid.
          </span>
          <DangerLink href={`${path}/gate?state=closed`} id="close">
            Close
          </DangerLink>
        </li>
        <li>
          <span>
            <strong>Kill its connections</strong> cuts what is live now
            {stdio !== null && !stdio.shared && ', and ends their processes'}. Clients may come back at once.
          </span>
          <DangerLink href={`${path}/kill`} id="kill">
            Kill
          </DangerLink>
        </li>
        {mayRemove && (
          <li>
            <span>
              <strong>Remove</strong> cuts all and forgets it, credentials included. Its name is free again; old tokens
              do not reach what takes it.
            </span>
            <DangerLink href={`${path}/removal`} id="remove">
              Remove
            </DangerLink>
          </li>
        )}
      </ul>
    </section>
  )
}

interface ServerProps {
  frame: Frame
  card: ServerPageCard
  /** May close and kill. */
  mayAct: boolean
  /** May do everything else that an operator may. */
  mayWork: boolean
  /** May change and remove it: of a command that is for owners alone. */
  mayChange: boolean
}

export const ServerPage = ({ frame, card, mayAct, mayWork, mayChange }: ServerProps) => {
  const { server } = card
  const path = serverHref(server.name)
  return (
    <Layout title={server.name} frame={frame} refreshed>
      <div class="sheet">
        <Crumb to="/servers">Servers</Crumb>
        <Live frame={frame}>
          <div class="heading">
            <h1>{server.name}</h1>
            {mayWork && (
              <div class="links">
                {server.state === 'closed' && (
                  <a class="button main" id="open" href={`${path}/gate?state=open`}>
                    Open
                  </a>
                )}
                <form method="post" action={`${path}/probes`}>
                  <button type="submit" id="look">
                    Look again
                  </button>
                </form>
                {mayChange && (
                  <a class="button" id="edit" href={`${path}/edit`}>
                    Edit
                  </a>
                )}
              </div>
            )}
          </div>
          <Facts card={card} mayMakeTokens={mayWork} />
          {server.stdio !== null && <Stderr lines={server.stdio.status.stderr} />}
          <Connections card={card} mayAct={mayAct} />
        </Live>
        {mayAct && <Deadly server={server} mayRemove={mayChange} />}
      </div>
    </Layout>
  )
}
