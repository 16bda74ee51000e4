import type { Command } from 'commander'
import type { ConnectionJson, CutJson, NodeJson, Page } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment, type Client } from './client.ts'
import { usage } from './exit.ts'
import { age, bytes, counted, millis, say, table, writeRaw } from './output.ts'

const HEAD = ['ID', 'KIND', 'SERVER', 'TOKEN', 'SUBJECT', 'CLIENT', 'ADDRESS', 'AGE', 'IN', 'OUT', 'REQUEST']
const WATCH_MS = 1_000
const PAGE_SIZE_MAX = 1_000
/** Lines around the table: a heading, an empty line, the table's head, and "more" below it. */
const FRAME_LINES = 5

const row = (c: ConnectionJson): string[] => [
  c.id,
  c.kind,
  c.server,
  c.token.name,
  c.token.subject ?? '-',
  c.client ?? '-',
  c.address,
  age(c.ageMs),
  bytes(c.bytesIn),
  bytes(c.bytesOut),
  `${c.method} ${c.path}`,
]

const connectionsText = (items: ConnectionJson[]): string => table(HEAD, items.map(row), 'Nothing is connected.')

/** One screen of the watch; there may be far more connections than lines, so only one page is asked for. */
const screen = async (client: Client): Promise<string> => {
  const lines = Math.max(1, (process.stdout.rows ?? 24) - FRAME_LINES)
  const limit = Math.min(lines, PAGE_SIZE_MAX)
  const [node, page] = await Promise.all([
    client.get<NodeJson>('/node'),
    client.get<Page<ConnectionJson>>('/connections', { limit }),
  ])
  const more = Math.max(0, node.connections - page.items.length)
  return [
    `${counted(Math.max(node.connections, page.items.length), 'connection')} at ${new Date().toISOString()}`,
    '',
    connectionsText(page.items),
    ...(more > 0 ? [`… and ${more} more`] : []),
  ].join('\n')
}

const watch = async (client: Client): Promise<void> => {
  let watching = true
  let wake = () => {}
  const stop = () => {
    watching = false
    wake()
  }
  process.once('SIGINT', stop)
  while (watching) {
    const text = await screen(client)
    if (process.stdout.isTTY) await writeRaw('\x1b[H\x1b[2J')
    await say(text)
    if (!watching) break
    await new Promise<void>((resolve) => {
      wake = resolve
      setTimeout(resolve, WATCH_MS)
    })
  }
}

export const connectionCommands = (program: Command, cli: Cli): void => {
  program
    .command('connections')
    .description('list what is in flight')
    .option('--watch', 'show it anew each second, until Ctrl-C')
    .action(async (options: { watch?: boolean }) => {
      if (options.watch && cli.json) throw usage('--watch and --json exclude each other')
      const client = cli.client()
      if (options.watch) return watch(client)
      const page = await client.all<ConnectionJson>('/connections')
      await cli.print(page, () => connectionsText(page.items))
    })

  program
    .command('connection')
    .description('one connection')
    .command('kill')
    .description('cut one connection; its token stays valid')
    .argument('<ID>')
    .action(async (id: string) => {
      const cut = await cli.client().delete<Partial<CutJson>>(`/connections/${segment(id)}`)
      const took = typeof cut?.lastCutMs === 'number' ? ` in ${millis(cut.lastCutMs)}` : ''
      await cli.print(cut ?? {}, () => `Connection ${id} is cut${took}.`)
    })
}
