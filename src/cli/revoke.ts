import { type Command, Option } from 'commander'
import { REASONS } from '../revocation-record.ts'
import type { RevocationJson } from './answers.ts'
import type { Cli } from './cli.ts'
import type { Client } from './client.ts'
import { confirm } from './confirm.ts'
import { failed, usage } from './exit.ts'
import { warn } from './output.ts'
import { FROM_STDIN, pastedToken } from './pasted.ts'
import { receipt } from './receipt.ts'

interface RevokeOptions {
  subject?: string
  group?: string
  server?: string
  issuedBefore?: string
  all?: boolean
  reason?: string
  note?: string
  dryRun?: boolean
  yes?: boolean
}

const bodyOf = (tokens: string[], options: RevokeOptions) => {
  const { subject, group, server, issuedBefore, all, reason, note } = options
  const selectors = [subject, group, server, issuedBefore, all]
  if (tokens.length === 0 && selectors.every((selector) => selector === undefined)) {
    throw usage('Say what to revoke: ids or names, --subject, --group, --server, --issued-before or --all.')
  }
  // An empty value would be taken for no selector at all, and match more than was meant.
  for (const given of [...tokens, ...selectors]) {
    if (typeof given === 'string' && given.trim() === '') throw usage('A selector is empty.')
  }
  if (reason === undefined) throw usage(`--reason is required, one of: ${REASONS.join(', ')}`)
  return { ...(tokens.length > 0 && { tokens }), subject, group, server, issuedBefore, all, reason, note }
}

type Body = ReturnType<typeof bodyOf>

const post = (client: Client, body: Body & { dryRun: boolean }): Promise<RevocationJson> =>
  client.post('/revocations', body)

/** The ids and names, with the id of the token whose secret is on stdin in place of `-`. */
const namedBy = async (client: Client, tokens: string[]): Promise<string[]> => {
  if (!tokens.includes(FROM_STDIN)) return tokens
  const { id, name, secretDiesAt } = await pastedToken(client)
  if (secretDiesAt !== null && Date.parse(secretDiesAt) <= Date.now()) {
    throw failed(
      `That secret died at ${secretDiesAt}, by a rotation, and nothing was done.\n` +
        `The token ${name} lives with another secret; to kill it too: portcullis revoke ${id} --reason compromised`,
    )
  }
  return tokens.map((token) => (token === FROM_STDIN ? id : token))
}

const revoke = async (cli: Cli, given: string[], options: RevokeOptions): Promise<void> => {
  // What is missing is said before anything is pasted.
  bodyOf(given, options)
  const client = cli.client()
  const body = bodyOf(await namedBy(client, given), options)
  const named = body.tokens !== undefined
  if (options.dryRun || !options.yes) {
    const preview = await post(client, { ...body, dryRun: true })
    if (options.dryRun) return cli.print(preview, () => receipt(preview, named))
    if (preview.tokens.length > 1) {
      // The list goes to stderr with the question: stdout is for the outcome.
      if (process.stdin.isTTY) await warn(receipt(preview, named))
      await confirm(`${preview.tokens.length} tokens would die.`)
    }
  }
  const revocation = await post(client, { ...body, dryRun: false })
  await cli.print(revocation, () => receipt(revocation, named))
}

export const revokeCommand = (program: Command, cli: Cli): void => {
  program
    .command('revoke')
    .description('kill tokens for good, and cut everything in flight under them')
    .argument(
      '[ID...]',
      'ids or names, joined by OR, or - for a leaked secret from stdin; the selectors below are joined by AND',
    )
    .option('--subject <WHO>', 'those of this person')
    .option('--group <G>', 'those of this group')
    .option('--server <S>', 'those that may reach this server')
    .option('--issued-before <TIME>', 'those issued before 2026-11-21T10:00:00Z, or before the end of 2026-11-21')
    .option('--all', 'every token')
    .addOption(new Option('--reason <REASON>', 'why (required)').choices(REASONS))
    .option('--note <TEXT>', 'more about why, for the audit trail')
    .option('--dry-run', 'only show what would die')
    .option('--yes', "don't ask when more than one token would die")
    .action((tokens: string[], options: RevokeOptions) => revoke(cli, tokens, options))
}
