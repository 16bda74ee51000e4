import type { Command } from 'commander'
import type { LinkJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { linkText } from './link.ts'

export const setupCommand = (program: Command, cli: Cli): void => {
  program
    .command('setup')
    .description('print a fresh link to make the first owner with')
    .action(async () => {
      const link = await cli.client().post<LinkJson>('/setup-links')
      await cli.print(link, () => linkText('Open this link to make the first owner.', link))
    })
}
