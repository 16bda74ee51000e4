import type { Command } from 'commander'
import { notYet } from './exit.ts'

/** Commands that later versions bring; until then they say so. */
export const laterCommands = (program: Command): void => {
  for (const name of ['cluster']) {
    program
      .command(name)
      .description('not available yet')
      .argument('[ARGUMENT...]')
      .allowUnknownOption()
      .action(() => {
        throw notYet(name)
      })
  }
}
