/** @jsxImportSource hono/jsx */
import type { McpIdentity } from '../health.ts'
import type { GateState, UpstreamKind } from '../upstream.ts'
import { Copyable } from './copy.tsx'
import { processes, type StdioCard } from './stdio-facts.tsx'
import { number, percent } from './words.ts'

/** A server as the API shows it. */
export interface ServerCard {
  id: string
  name: string
  /** Null where a command runs it. */
  url: string | null
  stdio: StdioCard | null
  kind: UpstreamKind
  path: string
  headers: Record<string, string>
  state: GateState
  reason: string | null
  connections: number
  publicUrl: string
  createdAt: string
  health: {
    reachable: boolean | null
    lookedAt: string | null
    detail: string | null
    mcp: McpIdentity | null
    requests: number
    errors: number
    errorRate: number | null
  }
}

/** A server's own page. One that is called "new" is not taken for the form. */
export const serverHref = (name: string): string => `/servers/${name === 'new' ? '%6eew' : encodeURIComponent(name)}`

export const Gate = ({ state, reason }: Pick<ServerCard, 'state' | 'reason'>) => (
  <>
    <span class={`status ${state}`}>{state}</span>
    {reason !== null && (
      <span class="detail">
        <bdi>{reason}</bdi>
      </span>
    )}
  </>
)

export const Reachable = ({ health: { reachable, detail } }: Pick<ServerCard, 'health'>) => {
  if (reachable === null) return <span class="quiet">not looked yet</span>
  if (reachable) return <span class="status reachable">yes</span>
  return (
    <>
      <span class="status unreachable">no</span>
      {detail !== null && (
        <span class="detail">
          <bdi>{detail}</bdi>
        </span>
      )}
    </>
  )
}

/** Name and version are the server's own words, so they are kept from turning the text around them. */
export const Mcp = ({ health: { mcp, reachable } }: Pick<ServerCard, 'health'>) =>
  mcp === null ? (
    <span class="quiet">{reachable ? 'none' : 'unknown'}</span>
  ) : (
    <>
      <bdi>{mcp.name ?? 'unnamed'}</bdi> {mcp.version !== null && <bdi>{mcp.version}</bdi>}
      <span class="detail">
        {mcp.revision}
        {mcp.transport === 'sse' && ', HTTP+SSE'}
      </span>
    </>
  )

export const Tools = ({ health: { mcp } }: Pick<ServerCard, 'health'>) =>
  mcp?.tools == null ? <span class="quiet">{mcp ? 'not listed' : '–'}</span> : <>{number(mcp.tools)}</>

export const Errors = ({ health: { errorRate, errors, requests } }: Pick<ServerCard, 'health'>) =>
  errorRate === null ? (
    <span class="quiet">no request</span>
  ) : (
    <>
      {percent(errorRate)}
      <span class="detail">
        {number(errors)} of {number(requests)}
      </span>
    </>
  )

/** Live connections; of a command its processes too. */
export const LiveOf = ({ connections, stdio }: Pick<ServerCard, 'connections' | 'stdio'>) => (
  <>
    {number(connections)}
    {stdio !== null && <span class="detail">{processes(stdio.status.processes)}</span>}
  </>
)

export const PublicUrl = ({ id, name, publicUrl }: Pick<ServerCard, 'id' | 'name' | 'publicUrl'>) => (
  <Copyable id={`url-${id}`} what={`the URL of ${name}`}>
    {publicUrl}
  </Copyable>
)
