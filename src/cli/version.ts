import type { Command } from 'commander'
import { versionLine } from '../version.ts'
import type { Cli } from './cli.ts'

export const versionCommand = (program: Command, cli: Cli): void => {
  program
    .command('version')
    .description('print the version')
    .action(() => cli.print(cli.hooks.version, () => versionLine(cli.hooks.version)))
}
