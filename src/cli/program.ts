import { Command, CommanderError } from 'commander'
import { AppError, messageOf } from '../error.ts'
import { versionLine } from '../version.ts'
import { apikeyCommand } from './apikey.ts'
import { auditCommand } from './audit.ts'
import { backupCommand } from './backup.ts'
import { Cli } from './cli.ts'
import { connectCommand } from './connect.ts'
import { connectionCommands } from './connection.ts'
import { doctorCommand } from './doctor.ts'
import { EXIT, Exit, systemCode } from './exit.ts'
import { healthcheckCommand } from './healthcheck.ts'
import type { Hooks } from './hooks.ts'
import { keyCommand } from './key.ts'
import { laterCommands } from './later.ts'
import { operatorCommand } from './operator.ts'
import { warn } from './output.ts'
import { restoreCommand } from './restore.ts'
import { revokeCommand } from './revoke.ts'
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
  backupCommand(program, cli)
  restoreCommand(program, cli)
  doctorCommand(program, cli)
  healthcheckCommand(program, cli)
  setupCommand(program, cli)
  versionCommand(program, cli)
  laterCommands(program)
  return { program, cli }
}

/** Where the command stands in the arguments: before it there may be global options and their values. */
const commandAt = (argv: string[]): number => {
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] as string
    if (word === '--data' || word === '--url') at += 1
    else if (!word.startsWith('-')) return at
  }
  return -1
}

/** `serve` and `demo` with their arguments unparsed, unless it is their help that is asked for. */
const startOf = (argv: string[], hooks: Hooks): (() => Promise<number>) | null => {
  const at = commandAt(argv)
  const name = argv[at]
  const rest = argv.filter((_, index) => index !== at)
  if ((name !== 'serve' && name !== 'demo') || rest.includes('--help') || rest.includes('-h')) return null
  return () => hooks[name](rest)
}

const codeOf = async (error: unknown): Promise<number> => {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
  // Whoever read stdout has had enough, as in `portcullis audit | head`.
  if (systemCode(error) === 'EPIPE') return EXIT.done
  await warn(messageOf(error))
  return error instanceof Exit ? error.code : EXIT.failed
}

/** Runs one command line; resolves to the exit code: 0 done, 1 refused or failed, 2 bad usage, 3 no node answers. */
export const run = async (argv: string[], hooks: Hooks): Promise<number> => {
  const start = startOf(argv, hooks)
  try {
    if (start) return await start()
    const { program, cli } = programFor(argv, hooks)
    await program.parseAsync(argv, { from: 'user' })
    return cli.exitCode
  } catch (error) {
    // A setting that serve or demo refuses is bad usage; elsewhere the same kind is a refusal.
    if (start && error instanceof AppError && error.kind === 'invalid') {
      await warn(error.message)
      return EXIT.usage
    }
    return codeOf(error)
  }
}
