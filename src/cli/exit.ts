import { messageOf } from '../error.ts'
import { warn } from './output.ts'

/** What the command line exits with. `audit verify` adds its own codes. */
export const EXIT = { done: 0, failed: 1, usage: 2, noNode: 3 } as const

/** Ends the command with a code and, on stderr, a message for people. */
export class Exit extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message)
    this.name = 'Exit'
  }
}

export const failed = (message: string) => new Exit(EXIT.failed, message)
export const usage = (message: string) => new Exit(EXIT.usage, message)
export const noNode = (message: string) => new Exit(EXIT.noNode, message)
export const notYet = (what: string) => new Exit(EXIT.failed, `${what} is not available yet`)

/** The `code` of a system error (`ENOENT`, `EACCES`, …), if it is one. */
export const systemCode = (error: unknown): string | null =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null

/** Says what went wrong, and resolves to the exit code. */
export const exitCodeOf = async (error: unknown): Promise<number> => {
  // Whoever read stdout has had enough, as in `portcullis audit | head`.
  if (systemCode(error) === 'EPIPE') return EXIT.done
  await warn(messageOf(error))
  return error instanceof Exit ? error.code : EXIT.failed
}
