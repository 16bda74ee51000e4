import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import { messageOf } from '../error.ts'
import type { AuditRowJson, CheckpointJson, Page, VerificationJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { csvHead, csvRow } from './csv.ts'
import { EXIT, failed, notYet, usage } from './exit.ts'
import { fields, millis, toJson, writeRaw } from './output.ts'
import { follow, newest, rowText, writeAll } from './trail.ts'
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

const show = async (cli: Cli, options: { limit?: number; follow?: boolean }): Promise<void> => {
  if (options.follow && cli.json) throw usage('--follow and --json exclude each other')
  const client = cli.client()
  if (cli.json && options.limit === undefined) return writeAll(client)
  const rows = await newest(client, options.limit ?? LIMIT_DEFAULT)
  const page: Page<AuditRowJson> = { items: rows, next: null }
  if (rows.length > 0 || !options.follow) {
    await cli.print(page, () => (rows.length > 0 ? rows.map(rowText).join('\n') : 'The audit trail is empty.'))
  }
  if (options.follow) await follow(client, rows.at(-1)?.sequence ?? 0)
}

const exportTrail = async (cli: Cli, format: string | undefined): Promise<void> => {
  if (format === 'ocsf') throw notYet('audit export --format ocsf')
  if ((format === undefined) === !cli.json) throw usage('Give either --format jsonl|csv or --json.')
  const client = cli.client()
  if (format === undefined) return writeAll(client)
  const csv = format === 'csv'
  let head = csv ? csvHead : ''
  for await (const page of client.pages<AuditRowJson>('/audit', { order: 'asc' })) {
    const rows = page.map((row) => (csv ? csvRow(row) : `${JSON.stringify(row)}\n`))
    await writeRaw(head + rows.join(''))
    head = ''
  }
}

export const auditCommand = (program: Command, cli: Cli): void => {
  const audit = program
    .command('audit')
    .description('show the audit trail, the newest last')
    .option('--limit <N>', `how many rows (default: ${LIMIT_DEFAULT}; with --json: all)`, whole)
    .option('--follow', 'go on with what is written, until Ctrl-C')
    .action((options: { limit?: number; follow?: boolean }) => show(cli, options))

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
    .description('write the whole trail to stdout')
    .addOption(new Option('--format <FORMAT>', 'ocsf is not available yet').choices(['jsonl', 'csv', 'ocsf']))
    .action((options: { format?: string }) => exportTrail(cli, options.format))
}
