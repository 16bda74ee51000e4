import { AppError } from '../../error.ts'
import { holdsSecret } from '../../secret.ts'
import { sentenceOf } from './failure.tsx'

/** What was typed into a field, as it may stand in the form that comes back: no secret of ours. */
export const shownOf = (fields: URLSearchParams, name: string): string => {
  const text = fields.get(name) ?? ''
  return holdsSecret(text) ? '' : text
}

/** Reads field by field; what is wrong with one is kept under its name, so that all are told at once. */
export const reading = <F extends string>() => {
  const failures: Partial<Record<F, string>> = {}
  const read = <T>(field: F, parse: () => T): T | undefined => {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      failures[field] = sentenceOf(error).sentence
      return undefined
    }
  }
  return { failures, read }
}

/** How a form says what was refused, a name that is taken beside its field. Throws what is no refusal. */
export const refusalOf = (error: unknown): { failures?: { name: string }; failure?: string; status: number } => {
  if (!(error instanceof AppError)) throw error
  const { status, sentence } = sentenceOf(error)
  return error.kind === 'conflict' ? { failures: { name: sentence }, status } : { failure: sentence, status }
}
