/** What went wrong, in the words of the domain. One table per surface maps a kind to a status code. */
export type ErrorKind =
  | 'invalid' // the input is malformed: say what to do
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'mismatch' // an Idempotency-Key seen with another body
  | 'too_large'
  | 'too_many'
  | 'unavailable'
  | 'storage' // the database refused a write

/** The one error type that is meant for people; anything else is a defect and is never shown. */
export class AppError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
    /** What the same refusal is called on the wire: the end of the problem's `type`. */
    readonly slug: string = kind.replace('_', '-'),
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'AppError'
  }
}

export const invalid = (message: string) => new AppError('invalid', message)
export const notFound = (message: string) => new AppError('not_found', message)
export const conflict = (message: string) => new AppError('conflict', message)

/** A message for people out of anything that was thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
