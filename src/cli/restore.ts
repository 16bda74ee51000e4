import type { Command } from 'commander'
import type { Cli } from './cli.ts'

export const restoreCommand = (program: Command, cli: Cli): void => {
  program
    .command('restore')
    .description('put a backup in place of the data folder; the node must be stopped, and no revocation is lost')
    .argument('<FILE>')
    .option('--key-file <FILE>', 'where the ring of keys goes (default: portcullis.key in the data folder)')
    .action(async (file: string, { keyFile }: { keyFile?: string }) => {
      const { data } = cli.globals
      const options = { ...(data !== undefined && { data }), ...(keyFile !== undefined && { keyFile }) }
      const restored = await cli.hooks.restore(file, options)
      await cli.print(restored, () => restored.message)
    })
}
