import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { messageOf } from '../error.ts'
import type { AuditRowJson, CheckpointJson, Page, VerificationJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { EXIT, failed, notYet, usage } from './exit.ts'
import { fields, millis, toJson, writeRaw } from './output.ts'
import { follow, newest, rowText, type TrailFilter, writeAll } from './trail.ts'
import { whole } from './whole.ts'

const LIMIT_DEFAULT = 50

/** What `audit verify` exits with: scripts tell an altered trail from a shortened one. */
const VERDICT: Record<VerificationJson['status'], number> = { intact: EXIT.done, altered: 1, truncated: 4, forked: 5 }

interface VerifyOptions {
  db?: string
  checkpoint?: string
}

const checkpointIn = async (file: string): Promise<unknown> => {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw failed(`${file} is not a checkpoint: ${messageOf(error)}`)
  }
}

const verification = async (cli: Cli, { db, checkpoint }: VerifyOptions): Promise<VerificationJson> => {
  if (db !== undefined) {
    const { data } = cli.globals
    return cli.hooks.verifyOffline(db, checkpoint ?? null, { ...(data !== undefined && { data }) })
  }
  if (checkpoint === undefined) return cli.client().get('/audit/verification')
  const body = await checkpointIn(checkpoint)
  return cli.client().post('/audit/verification', body)
}

const verdictText = (found: VerificationJson): string =>
  fields([
    ['Audit trail', found.status.toUpperCase()],
    ['Finding', found.message],
    ...(found.sequence === null ? [] : [['First row that does not hold', found.sequence] as [string, number]]),
    ['Rows', found.rows],
    ['Checked', `${found.checkedAt}, in ${millis(found.tookMs)}`],
  ])

interface ShowOptions extends TrailFilter {
  limit?: number
  follow?: boolean
}

const show = async (cli: Cli, { limit, follow: following, ...filter }: ShowOptions): Promise<void> => {
  if (following && cli.json) throw usage('--follow and --json exclude each other')
  const client = cli.client()
  if (cli.json && limit === undefined) return writeAll(client, filter)
  const rows = await newest(client, limit ?? LIMIT_DEFAULT, filter)
  const page: Page<AuditRowJson> = { items: rows, next: null }
  const none = Object.keys(filter).length > 0 ? 'No row of the audit trail matches.' : 'The audit trail is empty.'
  if (rows.length > 0 || !following) {
    await cli.print(page, () => (rows.length > 0 ? rows.map(rowText).join('\n') : none))
  }
  if (following) await follow(client, rows.at(-1)?.sequence ?? 0, filter)
}

const exportTrail = async (cli: Cli, format: string | undefined, filter: TrailFilter): Promise<void> => {
  if (format === 'ocsf') throw notYet('audit export --format ocsf')
  if ((format === undefined) === !cli.json) throw usage('Give either --format jsonl|csv or --json.')
  const client = cli.client()
  if (format === undefined) return writeAll(client, filter)
  for await (const chunk of await client.download('/audit/export', { ...filter, format })) await writeRaw(chunk)
}

export const auditCommand = (program: Command, cli: Cli): void => {
  const audit = program
    .command('audit')
    .description('show the audit trail, the newest last')
    .option('--limit <N>', `how many rows (default: ${LIMIT_DEFAULT}; with --json: all)`, whole)
    .option('--follow', 'go on with what is written, until Ctrl-C')
    .option('--actor <ACTOR>', 'only what this one did, such as operator:ada')
    .option('--action <ACTION>', 'only this, such as token.revoke, or token. for all of a noun')
    .option('--target <TARGET>', 'only what was done to this: an id, or a part of a name')
    .option('--since <WHEN>', '24h ago, a date (from its beginning), or 2026-11-20T18:00:00Z')
    .option('--until <WHEN>', 'before 2026-11-20T18:00:00Z, or a date (to its end)')
    .action((options: ShowOptions) => show(cli, options))

  audit
    .command('verify')
    .description('check the hash chain: exits 0 intact, 1 altered, 4 cut off at the end, 5 forked')
    .option('--db <FILE>', 'a database file, without a node (default: ask the running node)')
    .option('--checkpoint <FILE>', 'a checkpoint kept from before: finds what was cut off at the end')
    .action(async (options: VerifyOptions) => {
      const found = await verification(cli, options)
      await cli.print(found, () => verdictText(found))
      cli.exitCode = VERDICT[found.status] ?? EXIT.failed
    })

  audit
    .command('checkpoint')
    .description('print a signed checkpoint of the trail: keep it elsewhere, for `audit verify --checkpoint`')
    .action(async () => {
      // The same JSON with and without --json: what is printed is what is kept.
      const checkpoint = await cli.client().get<CheckpointJson>('/audit/checkpoint')
      await writeRaw(`${toJson(checkpoint, 2)}\n`)
    })

  audit
    .command('export')
    .description('write the trail to stdout, whole or what the options choose of it')
    .addOption(new Option('--format <FORMAT>', 'ocsf is not available yet').choices(['jsonl', 'csv', 'ocsf']))
    .action(({ format }: { format?: string }) => {
      // They stand behind `export`, but are options of `audit`.
      const { limit: _, follow: _follow, ...filter } = audit.opts<ShowOptions>()
      return exportTrail(cli, format, filter)
    })
}
