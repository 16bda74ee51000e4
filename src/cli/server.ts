import type { Command } from 'commander'
import type { CutJson, GateStateJson, ServerJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { usage } from './exit.ts'
import { counted, millis, table } from './output.ts'
import { serverAddCommand } from './server-add.ts'
import { errorsText, mcpName, rowCommand, serverText, upText } from './server-text.ts'
import { warnOfUnreached } from './unreached.ts'

interface GateOptions {
  all?: boolean
  reason?: string
}

const cutText = (cut: CutJson): string =>
  cut.cut === 0 ? 'no connections were open' : `cut ${counted(cut.cut, 'connection')}, last in ${millis(cut.lastCutMs)}`

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
  serverAddCommand(server, cli)

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
