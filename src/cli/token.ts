import type { Command } from 'commander'
import { messageOf } from '../error.ts'
import { parseDuration } from '../time.ts'
import { tokenActivityCommand } from './activity.ts'
import type { TokenIssuedJson, TokenJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { clientOption, noSnippetText, saySnippet } from './connect.ts'
import { EXIT, usage } from './exit.ts'
import { listed } from './listed.ts'
import { ago, bytes, counted, fields, table, warn } from './output.ts'
import { FROM_STDIN, pastedToken } from './pasted.ts'
import { policyFrom, type PolicyOptions, policyOptions, policyText, tokenPolicyCommand } from './policy.ts'
import { warnOfUnreached } from './unreached.ts'

interface CreateOptions extends PolicyOptions {
  server: string[]
  subject?: string
  group?: string
  expires?: string
  client?: string
}

const graceSecondsOf = (text: string): number => {
  try {
    return parseDuration(text, '--grace') / 1_000
  } catch (error) {
    throw usage(messageOf(error))
  }
}

const urlLines = (token: TokenJson): [string, string][] => Object.entries(token.urls)

/** The one time that a secret is seen: alone on its line, so that it can be copied whole. */
const issuedText = (token: TokenIssuedJson, done: string): string =>
  [
    `${done} ${token.name} (${token.id}). Its secret is shown only now:`,
    '',
    token.token ?? '(already shown once)',
    '',
    fields([
      ...urlLines(token).map(([server, url]): [string, string] => [`URL of ${server}`, url]),
      ['Send it as', 'Authorization: Bearer SECRET'],
      ['Expires', token.expiresAt],
      ...(token.oldSecretDiesAt ? [['Old secret dies', token.oldSecretDiesAt] as [string, string]] : []),
    ]),
    '',
    ...(token.connect?.curl ? ['Try it:', `  ${token.connect.curl.text.split('\n')[0]}`] : []),
    '',
    'Ready to paste, for Cursor, VS Code, Claude Code and others:',
    `  portcullis connect ${token.id} [--client CLIENT]`,
  ].join('\n')

/** All about the new secret, or only what one client needs of it. */
const printIssued = async (cli: Cli, token: TokenIssuedJson, done: string, client?: string): Promise<void> => {
  const { connect, token: secret } = token
  if (client === undefined || cli.json || !connect || !secret) return cli.print(token, () => issuedText(token, done))
  const snippet = connect[client]
  if (!snippet) {
    // The token is made, and its secret must be seen all the same.
    await cli.print(token, () => issuedText(token, done))
    cli.exitCode = EXIT.failed
    return warn(noSnippetText(connect, client))
  }
  await warn(`${done} ${token.name} (${token.id}).`)
  await saySnippet(snippet)
  // A client that asks for the token itself gets a snippet without it, and there is no second time to see it.
  if (!snippet.text.includes(secret)) await warn(`The token, shown only now: ${secret}`)
}

const tokenText = (token: TokenJson): string =>
  [
    fields([
      ['Name', token.name],
      ['Id', token.id],
      ['Status', token.status],
      ['Subject', token.subject],
      ['Group', token.group],
      ['Created', `${token.createdAt} by ${token.createdBy}`],
      ['Expires', token.expiresAt],
      ...(token.oldSecretDiesAt ? [['Old secret dies', token.oldSecretDiesAt] as [string, string]] : []),
      ...(token.revokedAt ? [['Revoked', token.revokedAt] as [string, string]] : []),
      ['Last used', token.lastUsedAt ? `${token.lastUsedAt} (${ago(token.lastUsedAt)})` : 'never'],
      ['Policy', policyText(token.policy)],
      ['Client', token.client],
      ['Connections', token.connections],
      [
        'Last 30 days',
        `${token.requests} requests, ${token.refusals} refused, ` +
          `${bytes(token.bytesIn)} in, ${bytes(token.bytesOut)} out`,
      ],
      ...(urlLines(token).length > 0
        ? urlLines(token).map(([server, url]): [string, string] => [`URL of ${server}`, url])
        : [['Servers', token.servers.join(', ') || null] as [string, string | null]]),
      ...(token.deadTries.count > 0
        ? [
            ['Tried when dead', `${counted(token.deadTries.count, 'time')}, last ${token.deadTries.lastAt}`] as [
              string,
              string,
            ],
          ]
        : []),
    ]),
    ...token.deadTries.addresses.map(
      (a) => `  from ${a.address}: ${counted(a.count, 'time')}, ${a.firstAt} to ${a.lastAt}`,
    ),
  ].join('\n')

export const tokenCommand = (program: Command, cli: Cli): void => {
  const token = program.command('token').description('connection tokens: who may reach which servers')

  const create = token
    .command('create')
    .description('create a token; its secret is shown once')
    .argument('<NAME>', 'what it is for, such as "Cursor IDE"')
    .requiredOption('--server <S[,S]>', 'the servers it may reach', listed)
    .option('--subject <WHO>', 'whose it is, such as an e-mail address')
    .option('--group <G>', 'a group it can be revoked with')
    .option('--expires <WHEN>', '30d, or 2026-12-31 (default: never)')
  policyOptions(create)
    .addOption(clientOption('print what to paste into this client, with the secret'))
    .action(async (name: string, { server: servers, subject, group, expires, client, ...rest }: CreateOptions) => {
      if (servers.length === 0) throw usage('--server needs the name of at least one server')
      const body = { name, servers, subject, group, expires, policy: policyFrom(rest) }
      const issued = await cli.client().post<TokenIssuedJson>('/tokens', body)
      await printIssued(cli, issued, 'Created token', client)
    })

  token
    .command('ls')
    .description('list the tokens; secrets are never shown again')
    .action(async () => {
      const page = await cli.client().all<TokenJson>('/tokens')
      const head = ['ID', 'NAME', 'STATUS', 'SUBJECT', 'GROUP', 'SERVERS', 'EXPIRES', 'LAST USED', 'CONNECTIONS']
      const row = (t: TokenJson) => [
        t.id,
        t.name,
        t.status,
        t.subject ?? '-',
        t.group ?? '-',
        t.servers.join(','),
        t.expiresAt ?? 'never',
        ago(t.lastUsedAt),
        String(t.connections),
      ]
      const empty = 'No tokens. Make one with `portcullis token create`.'
      await cli.print(page, () => table(head, page.items.map(row), empty))
    })

  token
    .command('show')
    .description('show one token')
    .argument('<ID>', 'its id or name, or - to find it by its secret, from stdin')
    .action(async (id: string) => {
      const client = cli.client()
      const shown =
        id === FROM_STDIN ? await pastedToken(client) : await client.get<TokenJson>(`/tokens/${segment(id)}`)
      await cli.print(shown, () => tokenText(shown))
    })

  token
    .command('rotate')
    .description('a new secret for the same token; the old one dies now, or when the grace ends')
    .argument('<ID>', 'its id or name')
    .option('--grace <TIME>', 'let the old secret live on for 10m, 12h or so (default: it dies now)', graceSecondsOf)
    .addOption(clientOption('print what to paste into this client, with the new secret'))
    .action(async (id: string, { grace, client }: { grace?: number; client?: string }) => {
      const body = { graceSeconds: grace }
      const issued = await cli.client().post<TokenIssuedJson>(`/tokens/${segment(id)}/rotations`, body)
      await printIssued(cli, issued, 'New secret for token', client)
      await warnOfUnreached(cli)
    })

  tokenPolicyCommand(token, cli)
  tokenActivityCommand(token, cli)
}
