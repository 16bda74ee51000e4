import type { Command } from 'commander'
import type { LinkJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { printLink } from './link.ts'

export const setupCommand = (program: Command, cli: Cli): void => {
  program
    .command('setup')
    .description('print a fresh link to make the first owner with')
    .action(async () => {
      const client = cli.client()
      const link = await client.post<LinkJson>('/setup-links')
      await printLink(cli, client, { what: 'Open this link to make the first owner.', link, document: link })
    })
}
