import type { Command } from 'commander'
import { messageOf } from '../error.ts'
import { parseDuration } from '../time.ts'
import type { TokenIssuedJson, TokenJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { usage } from './exit.ts'
import { ago, bytes, fields, table } from './output.ts'

interface CreateOptions {
  server: string[]
  subject?: string
  group?: string
  expires?: string
}

/** `a,b` and repeated flags alike, as one list. */
const listed = (value: string, previous: string[] = []): string[] => [
  ...previous,
  ...value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
]

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
  ].join('\n')

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
        ? [['Tried when dead', `${token.deadTries.count} times, last ${token.deadTries.lastAt}`] as [string, string]]
        : []),
    ]),
    ...token.deadTries.addresses.map((a) => `  from ${a.address}: ${a.count} times, ${a.firstAt} to ${a.lastAt}`),
  ].join('\n')

export const tokenCommand = (program: Command, cli: Cli): void => {
  const token = program.command('token').description('connection tokens: who may reach which servers')

  token
    .command('create')
    .description('create a token; its secret is shown once')
    .argument('<NAME>', 'what it is for, such as "Cursor IDE"')
    .requiredOption('--server <S[,S]>', 'the servers it may reach', listed)
    .option('--subject <WHO>', 'whose it is, such as an e-mail address')
    .option('--group <G>', 'a group it can be revoked with')
    .option('--expires <WHEN>', '30d, or 2026-12-31 (default: never)')
    .action(async (name: string, { server: servers, subject, group, expires }: CreateOptions) => {
      if (servers.length === 0) throw usage('--server needs the name of at least one server')
      const body = { name, servers, subject, group, expires }
      const issued = await cli.client().post<TokenIssuedJson>('/tokens', body)
      await cli.print(issued, () => issuedText(issued, 'Created token'))
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
    .argument('<ID>', 'its id or name')
    .action(async (id: string) => {
      const shown = await cli.client().get<TokenJson>(`/tokens/${segment(id)}`)
      await cli.print(shown, () => tokenText(shown))
    })

  token
    .command('rotate')
    .description('a new secret for the same token; the old one dies now, or when the grace ends')
    .argument('<ID>', 'its id or name')
    .option('--grace <TIME>', 'let the old secret live on for 10m, 12h or so (default: it dies now)', graceSecondsOf)
    .action(async (id: string, { grace }: { grace?: number }) => {
      const body = { graceSeconds: grace }
      const issued = await cli.client().post<TokenIssuedJson>(`/tokens/${segment(id)}/rotations`, body)
      await cli.print(issued, () => issuedText(issued, 'New secret for token'))
    })
}
