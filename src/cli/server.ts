import { type Command, Option } from 'commander'
import type { CutJson, GateStateJson, ServerCreatedJson, ServerJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { notYet, usage } from './exit.ts'
import { readHeaders } from './headers.ts'
import { ago, counted, fields, millis, table } from './output.ts'
import { warnOfUnreached } from './unreached.ts'

const KINDS = ['auto', 'mcp', 'http'] as const satisfies readonly ServerJson['kind'][]

interface AddOptions {
  kind?: string
  path?: string
  header?: string[]
  stdio?: boolean
}

interface GateOptions {
  all?: boolean
  reason?: string
}

const FOUND: Record<NonNullable<ServerCreatedJson['probe']>['found'], string> = {
  mcp: 'an MCP server',
  sse: 'an SSE stream',
  http: 'an HTTP server',
  nothing: 'nothing that answers yet',
}

type HealthJson = ServerJson['health']

const mcpName = (mcp: NonNullable<HealthJson['mcp']>): string => `${mcp.name ?? 'nameless'} ${mcp.version ?? ''}`.trim()

const mcpText = (mcp: HealthJson['mcp']): string | null =>
  mcp &&
  [
    mcpName(mcp),
    `revision ${mcp.revision} over ${mcp.transport === 'sse' ? 'HTTP+SSE' : 'HTTP'}`,
    mcp.tools === null ? 'tools unknown' : counted(mcp.tools, 'tool'),
  ].join(', ')

const probeText = ({ probe }: ServerCreatedJson): string => {
  if (!probe) return 'not asked'
  const where = probe.path === '' ? '' : ` at ${probe.path}`
  if (probe.mcp) return `${FOUND.mcp}${where}: ${mcpText(probe.mcp)}`
  return `${FOUND[probe.found]}${where}${probe.detail ? ` (${probe.detail})` : ''}`
}

const upText = ({ reachable }: HealthJson): string => (reachable === null ? '-' : reachable ? 'up' : 'down')

const healthText = (health: HealthJson): string => {
  if (health.reachable === null) return 'not looked at yet'
  const state = health.reachable ? 'reachable' : 'not reachable'
  return `${state}: ${health.detail} (looked at ${ago(health.lookedAt)})`
}

const errorsText = ({ requests, errorRate }: HealthJson): string =>
  errorRate === null ? '-' : `${Math.round(errorRate * 1000) / 10}% of ${requests}`

const createdText = (server: ServerCreatedJson): string =>
  fields([
    ['Server', server.name],
    ['Upstream', server.url],
    ['Found', probeText(server)],
    ['URL to paste', server.publicUrl],
  ])

const serverText = (server: ServerJson): string =>
  fields([
    ['Name', server.name],
    ['Id', server.id],
    ['Upstream', server.url],
    ['Kind', server.kind],
    ['Headers', Object.keys(server.headers).join(', ') || null],
    ['State', server.reason ? `${server.state} (${server.reason})` : server.state],
    ['Health', healthText(server.health)],
    ['MCP', mcpText(server.health.mcp)],
    ['Errors, last hour', errorsText(server.health)],
    ['Connections', server.connections],
    ['URL for people', server.publicUrl],
    ['Created', `${server.createdAt} (${ago(server.createdAt)})`],
  ])

const cutText = (cut: CutJson): string =>
  cut.cut === 0 ? 'no connections were open' : `cut ${counted(cut.cut, 'connection')}, last in ${millis(cut.lastCutMs)}`

const add = async (cli: Cli, name: string, url: string | undefined, extra: string[], options: AddOptions) => {
  if (options.stdio) throw notYet('server add --stdio')
  if (url === undefined) throw usage("error: missing required argument 'URL'")
  if (extra.length > 0) throw usage(`error: too many arguments: "${extra.join(' ')}"`)
  const headers = await readHeaders(options.header ?? [])
  const { kind, path } = options
  const body = { name, url, ...(kind && { kind }), ...(path !== undefined && { path }), ...(headers && { headers }) }
  const server = await cli.client().post<ServerCreatedJson>('/servers', body)
  await cli.print(server, () => createdText(server))
}

const putGate = async (cli: Cli, state: 'open' | 'closed', name: string | undefined, options: GateOptions) => {
  if ((name === undefined) === !options.all) throw usage('Give either the name of a server or --all.')
  const path = name === undefined ? '/gate' : `/servers/${segment(name)}/gate`
  const body = { state, ...(options.reason !== undefined && { reason: options.reason }) }
  const gate = await cli.client().put<GateStateJson>(path, body)
  const subject = name === undefined ? 'The gate' : `Server ${name}`
  const cut = state === 'closed' ? `: ${cutText(gate)}` : ''
  await cli.print(gate, () => `${subject} is ${gate.state}${cut}.`)
  await warnOfUnreached(cli)
}

export const serverCommand = (program: Command, cli: Cli): void => {
  const server = program.command('server').description('the servers behind the gate')

  server
    .command('add')
    .description('add a server, and see what answers there')
    .argument('<NAME>', 'its name in URLs: /s/NAME')
    .argument('[URL]', 'where it is, http or https')
    .argument('[COMMAND...]', 'with --stdio: the command that runs it (not available yet)')
    .addOption(new Option('--kind <KIND>', 'what it speaks (default: auto)').choices(KINDS))
    .option('--path <PATH>', 'completes the URL shown to people, such as /mcp (default: what the probe finds)')
    .option(
      "--header <'NAME: VALUE'>",
      "header to send there; 'Name: @file' reads the value from a file, 'Name: -' from stdin (repeatable)",
      (value: string, previous: string[] = []) => [...previous, value],
    )
    .option('--stdio', 'run a command in place of a URL (not available yet)')
    .option('--env <K=V>', "the command's environment (not available yet; repeatable)")
    .action((name: string, url: string | undefined, extra: string[], options: AddOptions) =>
      add(cli, name, url, extra, options),
    )

  server
    .command('ls')
    .description('list the servers')
    .action(async () => {
      const page = await cli.client().all<ServerJson>('/servers')
      const head = [
        ...['NAME', 'STATE', 'HEALTH', 'MCP', 'TOOLS', 'ERRORS'],
        ...['KIND', 'UPSTREAM', 'CONNECTIONS', 'URL FOR PEOPLE'],
      ]
      const row = ({ health, ...s }: ServerJson) => [
        ...[s.name, s.state, upText(health), health.mcp ? mcpName(health.mcp) : '-'],
        ...[String(health.mcp?.tools ?? '-'), errorsText(health)],
        ...[s.kind, s.url, String(s.connections), s.publicUrl],
      ]
      await cli.print(page, () => table(head, page.items.map(row), 'No servers. Add one with `portcullis server add`.'))
    })

  server
    .command('show')
    .description('show one server')
    .argument('<NAME>')
    .action(async (name: string) => {
      const shown = await cli.client().get<ServerJson>(`/servers/${segment(name)}`)
      await cli.print(shown, () => serverText(shown))
    })

  server
    .command('rm')
    .description('remove a server and cut its connections')
    .argument('<NAME>')
    .action(async (name: string) => {
      const answer = await cli.client().delete<Partial<CutJson>>(`/servers/${segment(name)}`)
      const cut = answer?.cut
        ? `: ${cutText({ cut: answer.cut, lastCutMs: answer.lastCutMs ?? null, durable: true })}`
        : ''
      await cli.print(answer ?? {}, () => `Server ${name} is removed${cut}.`)
      await warnOfUnreached(cli)
    })

  server
    .command('kill')
    .description('cut every live connection of a server; tokens stay valid')
    .argument('<NAME>')
    .action(async (name: string) => {
      const cut = await cli.client().delete<CutJson>(`/servers/${segment(name)}/connections`)
      await cli.print(cut ?? {}, () => `Server ${name}: ${cut ? cutText(cut) : 'connections cut'}.`)
      await warnOfUnreached(cli)
    })

  server
    .command('close')
    .description('cut every live connection, and refuse until opened again')
    .argument('[NAME]')
    .option('--all', 'close all servers')
    .option('--reason <TEXT>', 'why, for the audit trail')
    .action((name: string | undefined, options: GateOptions) => putGate(cli, 'closed', name, options))

  server
    .command('open')
    .description('open a closed server again')
    .argument('[NAME]')
    .option('--all', 'open all servers')
    .option('--reason <TEXT>', 'why, for the audit trail')
    .action((name: string | undefined, options: GateOptions) => putGate(cli, 'open', name, options))
}
