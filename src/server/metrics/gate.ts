import type { Health } from '../../health.ts'
import type { Registry } from '../../registry.ts'
import type { Upstream, UpstreamIndex } from '../../upstream.ts'
import type { Labels, Metric } from './exposition.ts'

export interface GateSources {
  registry: Pick<Registry, 'live' | 'connectionsMax'>
  servers: UpstreamIndex
  health: Health
  gate: { requests: number; refusals: ReadonlyMap<string, number>; deadTries: number }
  /** Tokens that the node knows, the dead ones included. */
  tokens(): number
}

/** What passes the gate, what does not, and how the servers behind it are. */
export const gate = ({ registry, servers, health, gate: counts, tokens }: GateSources): Metric[] => {
  /** By id, since names are for those who sign in. Null: nothing to tell. */
  const byServer = (read: (server: Upstream) => number | null): [Labels, number][] =>
    servers.live().flatMap((server): [Labels, number][] => {
      const value = read(server)
      return value === null ? [] : [[{ server: server.id }, value]]
    })
  return [
    { name: 'portcullis_requests_total', help: 'Requests at the gate', type: 'counter', read: () => counts.requests },
    {
      name: 'portcullis_refusals_total',
      help: 'Requests that the gate answered in place of the server, by reason',
      type: 'counter',
      read: () => [...counts.refusals].map(([reason, count]) => [{ reason }, count]),
    },
    {
      name: 'portcullis_dead_token_tries_total',
      help: 'Requests with dead tokens',
      type: 'counter',
      read: () => counts.deadTries,
    },
    {
      name: 'portcullis_connections',
      help: 'Live connections by kind',
      type: 'gauge',
      read: () => Object.entries(registry.live).map(([kind, count]) => [{ kind }, count]),
    },
    {
      name: 'portcullis_connections_limit',
      help: 'Connections that may live at once, sessions aside',
      type: 'gauge',
      read: () => registry.connectionsMax,
    },
    { name: 'portcullis_tokens', help: 'Tokens that are known, the dead ones included', type: 'gauge', read: tokens },
    {
      name: 'portcullis_server_up',
      help: '1 when the last look reached the server',
      type: 'gauge',
      read: () =>
        byServer((server) => {
          const { last } = health.of(server)
          return last && Number(last.reachable)
        }),
    },
    {
      name: 'portcullis_server_tools',
      help: 'Tools that the server listed at the last look',
      type: 'gauge',
      read: () => byServer((server) => health.of(server).last?.mcp?.tools ?? null),
    },
    {
      name: 'portcullis_server_requests_total',
      help: 'Requests that servers were to answer',
      type: 'counter',
      read: () => byServer((server) => health.of(server).total.requests),
    },
    {
      name: 'portcullis_server_errors_total',
      help: 'Of those, failures of the server: unreachable, broken off, credentials refused, 500 or above',
      type: 'counter',
      read: () => byServer((server) => health.of(server).total.errors),
    },
  ]
}
