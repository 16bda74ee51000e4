import type { ServerCreatedJson, ServerJson } from './answers.ts'
import { ago, counted, fields } from './output.ts'
import { commandText, stderrText, stdioFields } from './stdio-text.ts'

/** A row of a list must not be made too wide by one of them; `server show` has it whole. */
const ROW_COMMAND_LENGTH = 60
export const rowCommand = (stdio: NonNullable<ServerJson['stdio']>): string => {
  const text = commandText(stdio)
  return text.length > ROW_COMMAND_LENGTH ? `${text.slice(0, ROW_COMMAND_LENGTH - 1)}…` : text
}

const FOUND: Record<NonNullable<ServerCreatedJson['probe']>['found'], string> = {
  mcp: 'an MCP server',
  sse: 'an SSE stream',
  http: 'an HTTP server',
  nothing: 'nothing that answers yet',
}

type HealthJson = ServerJson['health']

export const mcpName = (mcp: NonNullable<HealthJson['mcp']>): string =>
  `${mcp.name ?? 'nameless'} ${mcp.version ?? ''}`.trim()

const OVER = { http: 'HTTP', sse: 'HTTP+SSE' } as const

const mcpText = (mcp: HealthJson['mcp'], { stdio }: ServerJson): string | null =>
  mcp &&
  [
    mcpName(mcp),
    `revision ${mcp.revision} over ${stdio ? 'stdio' : OVER[mcp.transport]}`,
    mcp.tools === null ? 'tools unknown' : counted(mcp.tools, 'tool'),
  ].join(', ')

const probeText = (server: ServerCreatedJson): string => {
  const { probe } = server
  if (!probe) return 'not asked'
  const where = probe.path === '' ? '' : ` at ${probe.path}`
  if (probe.mcp) return `${FOUND.mcp}${where}: ${mcpText(probe.mcp, server)}`
  return `${FOUND[probe.found]}${where}${probe.detail ? ` (${probe.detail})` : ''}`
}

export const upText = ({ reachable }: HealthJson): string => (reachable === null ? '-' : reachable ? 'up' : 'down')

const healthText = (health: HealthJson): string => {
  if (health.reachable === null) return 'not looked at yet'
  const state = health.reachable ? 'reachable' : 'not reachable'
  return `${state}: ${health.detail} (looked at ${ago(health.lookedAt)})`
}

export const errorsText = ({ requests, errorRate }: HealthJson): string =>
  errorRate === null ? '-' : `${Math.round(errorRate * 1000) / 10}% of ${requests}`

export const createdText = (server: ServerCreatedJson): string =>
  fields([
    ['Server', server.name],
    server.stdio ? ['Command', commandText(server.stdio)] : ['Upstream', server.url],
    ['Found', probeText(server)],
    ['URL to paste', server.publicUrl],
  ])

const upstreamFields = ({ stdio, url, headers }: ServerJson): [string, string | null][] =>
  stdio
    ? stdioFields(stdio)
    : [
        ['Upstream', url],
        ['Headers', Object.keys(headers).join(', ') || null],
      ]

export const serverText = (server: ServerJson): string =>
  fields([
    ['Name', server.name],
    ['Id', server.id],
    ['Kind', server.kind],
    ...upstreamFields(server),
    ['State', server.reason ? `${server.state} (${server.reason})` : server.state],
    ['Health', healthText(server.health)],
    ['MCP', mcpText(server.health.mcp, server)],
    ['Errors, last hour', errorsText(server.health)],
    ['Connections', server.connections],
    ['URL for people', server.publicUrl],
    ['Created', `${server.createdAt} (${ago(server.createdAt)})`],
  ]) + (server.stdio ? stderrText(server.stdio) : '')
