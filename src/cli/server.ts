import { type Command, Option } from 'commander'
import type { CutJson, GateStateJson, ServerCreatedJson, ServerJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { usage } from './exit.ts'
import { readHeaders } from './headers.ts'
import { ago, counted, fields, millis, table } from './output.ts'
import { stdioFlagIn, type StdioOptions, stdioOptions, stdioRequest } from './stdio.ts'
import { commandText, stderrText, stdioFields } from './stdio-text.ts'
import { warnOfUnreached } from './unreached.ts'

const KINDS = ['auto', 'mcp', 'http'] as const satisfies readonly ServerJson['kind'][]

const ADD_USAGE = `[options] <NAME> <URL>
       portcullis server add [options] <NAME> --stdio -- <COMMAND> [ARG...]`

const DASHES = 'Put -- before the command: portcullis server add NAME --stdio -- COMMAND ARG...\n'
/** A row of a list must not be made too wide by one of them; `server show` has it whole. */
const ROW_COMMAND_LENGTH = 60
const rowCommand = (stdio: NonNullable<ServerJson['stdio']>): string => {
  const text = commandText(stdio)
  return text.length > ROW_COMMAND_LENGTH ? `${text.slice(0, ROW_COMMAND_LENGTH - 1)}…` : text
}

const isMisread = (argv: readonly string[]): boolean => argv.includes('--stdio') && !argv.includes('--')

interface AddOptions extends StdioOptions {
  kind?: string
  path?: string
  header?: string[]
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

const serverText = (server: ServerJson): string =>
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

const cutText = (cut: CutJson): string =>
  cut.cut === 0 ? 'no connections were open' : `cut ${counted(cut.cut, 'connection')}, last in ${millis(cut.lastCutMs)}`

/** What `server add` is to add: its name, and a URL or a command. Throws `Exit` with what to type. */
const readWords = ({ argv }: Cli, words: readonly string[], options: AddOptions) => {
  const at = argv.indexOf('--')
  const command = at === -1 ? [] : argv.slice(at + 1)
  const [name, url, ...extra] = words.slice(0, words.length - command.length)
  const isCommand = options.stdio ?? false
  if (name === undefined) throw usage("error: missing required argument 'NAME', before --")
  if (isCommand && at === -1)
    throw usage(`error: put -- before the command: portcullis server add ${name} --stdio -- COMMAND ARG...`)
  if (isCommand && url !== undefined)
    throw usage(`error: "${url}" stands before --: a server has a name, and either a URL or a command`)
  if (isCommand && command.length === 0) throw usage('error: no command stands after --')
  if (!isCommand && at !== -1) throw usage('error: a command stands after --; to run one, add --stdio before --')
  if (!isCommand && url === undefined) throw usage("error: missing required argument 'URL'")
  if (extra.length > 0) throw usage(`error: too many arguments: "${extra.join(' ')}"`)
  return isCommand ? { name, command } : { name, url }
}

const bodyOf = async (cli: Cli, words: readonly string[], options: AddOptions) => {
  const { name, url, command } = readWords(cli, words, options)
  const { kind, path, header = [], ...stdio } = options
  if (command) {
    if (kind !== undefined || header.length > 0)
      throw usage('error: --kind and --header are for URLs; a command gets what it needs by --env')
    const isRemote = cli.globals.url !== undefined
    return { name, stdio: await stdioRequest(command, stdio, isRemote), ...(path !== undefined && { path }) }
  }
  const flag = stdioFlagIn(stdio)
  if (flag !== null) throw usage(`error: ${flag} is for commands: it goes with --stdio`)
  const headers = await readHeaders(header)
  return { name, url, ...(kind && { kind }), ...(path !== undefined && { path }), ...(headers && { headers }) }
}

const add = async (cli: Cli, words: readonly string[], options: AddOptions) => {
  const body = await bodyOf(cli, words, options)
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

  const added = server
    .command('add')
    .description('add a server, a URL or a command, and see what answers there')
    .usage(ADD_USAGE)
    .argument('<NAME>', 'its name in URLs: /s/NAME')
    .argument('[URL]', 'where it is, http or https')
    .argument('[COMMAND...]', 'with --stdio, after --: the program that runs it, and its arguments')
    .addOption(new Option('--kind <KIND>', 'what it speaks (default: auto)').choices(KINDS))
    .option('--path <PATH>', 'completes the URL shown to people, such as /mcp (default: what the probe finds)')
    .option(
      "--header <'NAME: VALUE'>",
      "header to send there; 'Name: @file' reads the value from a file, 'Name: -' from stdin (repeatable)",
      (value: string, previous: string[] = []) => [...previous, value],
    )
    // Without the dashes, options of the command are taken for ours.
    .configureOutput({ outputError: (text, write) => write(isMisread(cli.argv) ? `${text}${DASHES}` : text) })
  stdioOptions(added).action((name: string, url: string | undefined, command: string[], options: AddOptions) =>
    add(cli, [name, ...(url === undefined ? [] : [url]), ...command], options),
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
        ...[s.kind, s.stdio ? rowCommand(s.stdio) : (s.url ?? '-'), String(s.connections), s.publicUrl],
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
