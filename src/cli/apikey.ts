import { type Command, Option } from 'commander'
import type { ApiKeyIssuedJson, ApiKeyJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { ago, table } from './output.ts'

const ROLES = ['operator', 'auditor'] as const satisfies readonly ApiKeyJson['role'][]

const issuedText = (key: ApiKeyIssuedJson): string =>
  [
    `Created API key ${key.name} (${key.role}). It is shown only now:`,
    '',
    key.key ?? '(already shown once)',
    '',
    `Use it as PORTCULLIS_API_KEY together with --url. Expires: ${key.expiresAt ?? 'never'}`,
  ].join('\n')

export const apikeyCommand = (program: Command, cli: Cli): void => {
  const apikey = program.command('apikey').description('keys for the API')

  apikey
    .command('create')
    .description('create an API key; it is shown once')
    .argument('<NAME>')
    .addOption(new Option('--role <ROLE>', 'what it may do').choices(ROLES).makeOptionMandatory())
    .option('--expires <WHEN>', '30d, or 2026-12-31 (default: never)')
    .action(async (name: string, { role, expires }: { role: string; expires?: string }) => {
      const issued = await cli.client().post<ApiKeyIssuedJson>('/apikeys', { name, role, expires })
      await cli.print(issued, () => issuedText(issued))
    })

  apikey
    .command('ls')
    .description('list the API keys')
    .action(async () => {
      const page = await cli.client().all<ApiKeyJson>('/apikeys')
      const head = ['ID', 'NAME', 'ROLE', 'CREATED', 'EXPIRES', 'LAST USED']
      const row = (k: ApiKeyJson) => [k.id, k.name, k.role, k.createdAt, k.expiresAt ?? 'never', ago(k.lastUsedAt)]
      await cli.print(page, () => table(head, page.items.map(row), 'No API keys.'))
    })

  apikey
    .command('rm')
    .description('remove an API key; it stops working at once')
    .argument('<ID>', 'its id or name')
    .action(async (id: string) => {
      const answer = await cli.client().delete(`/apikeys/${segment(id)}`)
      await cli.print(answer ?? {}, () => `API key ${id} is removed.`)
    })
}
