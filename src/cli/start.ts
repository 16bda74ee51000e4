import { AppError } from '../error.ts'
import { EXIT, exitCodeOf } from './exit.ts'
import type { Hooks } from './hooks.ts'

/** Where the command stands in the arguments: before it there may be global options and their values. */
const commandAt = (argv: string[]): number => {
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] as string
    if (word === '--data' || word === '--url') at += 1
    else if (!word.startsWith('-')) return at
  }
  return -1
}

/**
 * Runs `serve` or `demo` with their arguments unparsed and resolves to the exit code; null: it is another command, or
 * only their help that is asked for. Apart from the other commands, which a node need not load.
 */
export const startNode = (argv: string[], hooks: Pick<Hooks, 'serve' | 'demo'>): Promise<number> | null => {
  const at = commandAt(argv)
  const name = argv[at]
  const rest = argv.filter((_, index) => index !== at)
  if ((name !== 'serve' && name !== 'demo') || rest.includes('--help') || rest.includes('-h')) return null
  return hooks[name](rest).catch(async (error: unknown) => {
    const code = await exitCodeOf(error)
    // A setting that is refused is bad usage; elsewhere the same kind is a refusal.
    return error instanceof AppError && error.kind === 'invalid' ? EXIT.usage : code
  })
}
