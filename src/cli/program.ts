import { Command, CommanderError } from 'commander'
import { versionLine } from '../version.ts'
import { apikeyCommand } from './apikey.ts'
import { auditCommand } from './audit.ts'
import { backupCommand } from './backup.ts'
import { Cli } from './cli.ts'
import { clusterCommand } from './cluster.ts'
import { connectCommand } from './connect.ts'
import { connectionCommands } from './connection.ts'
import { doctorCommand } from './doctor.ts'
import { EXIT, exitCodeOf } from './exit.ts'
import { healthcheckCommand } from './healthcheck.ts'
import type { Hooks } from './hooks.ts'
import { keyCommand } from './key.ts'
import { operatorCommand } from './operator.ts'
import { restoreCommand } from './restore.ts'
import { revokeCommand } from './revoke.ts'
import { selftestCommand } from './selftest.ts'
import { serveCommands } from './serve.ts'
import { serverCommand } from './server.ts'
import { setupCommand } from './setup.ts'
import { tokenCommand } from './token.ts'
import { versionCommand } from './version.ts'

export type { Hooks } from './hooks.ts'

const EXIT_CODES = `
Exits 0 done, 1 refused or failed, 2 bad usage, 3 no node answers.`

/** The whole command line, unparsed. */
export const programFor = (argv: string[], hooks: Hooks): { program: Command; cli: Cli } => {
  const program = new Command('portcullis')
    .description("A kill switch for AI agents' access.")
    .version(versionLine(hooks.version), '--version', 'print the version')
    .option('--data <DIR>', 'data folder of the node (PORTCULLIS_DATA)')
    .option('--url <URL>', 'URL of a console, in place of a data folder; needs PORTCULLIS_API_KEY')
    .option('--json', 'print one JSON document')
    .configureHelp({ showGlobalOptions: true })
    .addHelpText('after', EXIT_CODES)
    .exitOverride()
  const cli = new Cli(program, argv, hooks)
  serveCommands(program)
  serverCommand(program, cli)
  tokenCommand(program, cli)
  connectCommand(program, cli)
  revokeCommand(program, cli)
  connectionCommands(program, cli)
  auditCommand(program, cli)
  apikeyCommand(program, cli)
  operatorCommand(program, cli)
  keyCommand(program, cli)
  clusterCommand(program, cli)
  backupCommand(program, cli)
  restoreCommand(program, cli)
  doctorCommand(program, cli)
  selftestCommand(program, cli)
  healthcheckCommand(program, cli)
  setupCommand(program, cli)
  versionCommand(program, cli)
  return { program, cli }
}

/** Runs any command but those of `startNode`; resolves to the exit code: 0 done, 1 refused or failed, 2 bad usage, 3 no node answers. */
export const run = async (argv: string[], hooks: Hooks): Promise<number> => {
  try {
    const { program, cli } = programFor(argv, hooks)
    await program.parseAsync(argv, { from: 'user' })
    return cli.exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
    return exitCodeOf(error)
  }
}
