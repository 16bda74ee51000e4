import { type Command, Option } from 'commander'
import type { ActivityJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { usage } from './exit.ts'
import { bytes, counted, fields, table, toJson, writeRaw } from './output.ts'

type Counts = ActivityJson['tools'][number]

const COUNTS = ['CALLS', 'ERRORS', 'REFUSED', 'ARGUMENTS', 'FIRST', 'LAST']
const countsOf = (row: Omit<Counts, 'server' | 'name'>): string[] => [
  String(row.calls),
  String(row.errors),
  String(row.refused),
  bytes(row.argumentBytes),
  row.firstAt,
  row.lastAt,
]

const activityText = (activity: ActivityJson): string => {
  const { token, since, until, calls, errors, refused, argumentBytes } = activity
  return [
    fields([
      ['Token', `${token.name} (${token.id}), ${token.status}`],
      ['Subject', token.subject],
      ['From', `${since} to ${until}`],
      [
        'In all',
        `${counted(calls, 'call')}, ${errors} failed, ${refused} refused, ${bytes(argumentBytes)} of arguments`,
      ],
    ]),
    table(
      ['SERVER', 'TOOL', ...COUNTS],
      activity.tools.map((row) => [row.server, row.name, ...countsOf(row)]),
      'It called no tool.',
    ),
    table(
      ['SERVER', 'METHOD', ...COUNTS],
      activity.methods.map((row) => [row.server, row.method, ...countsOf(row)]),
      'It asked for nothing.',
    ),
    table(
      ['ADDRESS', ...COUNTS],
      activity.addresses.map((row) => [row.address, ...countsOf(row)]),
      'It came from nowhere.',
    ),
    table(
      ['CLIENT', ...COUNTS],
      activity.clients.map((row) => [row.client, ...countsOf(row)]),
      'No client told its name.',
    ),
    ...(activity.truncated ? ['Some lists are longer than is shown; --format csv has all.'] : []),
  ].join('\n\n')
}

export const tokenActivityCommand = (token: Command, cli: Cli): void => {
  token
    .command('activity')
    .description('what a token did: tools, errors, sizes, addresses, clients; kept for 30 days')
    .argument('<ID>', 'its id or name')
    .option('--since <WHEN>', '24h ago, a date, or 2026-11-20T18:00:00Z (default: all that is kept)')
    .addOption(
      new Option('--format <FORMAT>', 'csv: one line for each tool, address and client').choices(['json', 'csv']),
    )
    .action(async (id: string, { since, format }: { since?: string; format?: string }) => {
      if (cli.json && format === 'csv') throw usage('--json and --format csv exclude each other')
      const client = cli.client()
      const path = `/tokens/${segment(id)}/activity`
      if (format === 'csv') {
        const decoder = new TextDecoder()
        for await (const chunk of await client.download(path, { since, format })) {
          await writeRaw(decoder.decode(chunk, { stream: true }))
        }
        return
      }
      const activity = await client.get<ActivityJson>(path, { since })
      if (format === 'json') await writeRaw(`${toJson(activity, 2)}\n`)
      else await cli.print(activity, () => activityText(activity))
    })
}
