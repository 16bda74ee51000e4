import { AppError, type ErrorKind, messageOf } from '../error.ts'
import { redact } from '../secret.ts'
import * as schemas from './api/schemas.ts'

/** The one table from a kind of error to a status code. */
export const STATUS: Record<ErrorKind, number> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_large: 413,
  mismatch: 422,
  too_many: 429,
  unavailable: 503,
  storage: 507,
}

/** Problem details (RFC 9457). Never holds a secret that was sent. */
export const problem = (status: number, slug: string, detail: string): Response =>
  new Response(
    JSON.stringify({
      type: `urn:portcullis:problem:${slug}`,
      title: slug.replaceAll('-', ' '),
      status,
      detail: redact(detail),
    }),
    { status, headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' } },
  )

interface ValidationFailure {
  type: string
  all: { path?: string; summary?: string }[]
}

const isValidation = (error: unknown): error is ValidationFailure =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 'VALIDATION'

const FIELDS = new Set(
  Object.values(schemas).flatMap((schema) =>
    typeof schema === 'object' && 'properties' in schema ? Object.keys(schema.properties) : [],
  ),
)

/** A field that is ours, perhaps with a place in its list; what a client made up may be a secret too. */
const isField = (path: string): boolean => FIELDS.has(path.replace(/\.\d+$/, ''))

/** Where the input is wrong, without saying what stood there: it may have been a secret. */
const validationDetail = (error: ValidationFailure): string => {
  let paths: string[] = []
  try {
    paths = [
      ...new Set(
        error.all.map((failure) => failure.path?.replace(/^\//, '').replaceAll('/', '.') ?? '').filter(isField),
      ),
    ]
  } catch (cause) {
    return `the ${error.type} can't be read (${messageOf(cause).slice(0, 60)})`
  }
  const where = paths.length > 0 ? `: look at ${paths.slice(0, 5).join(', ')}` : ''
  return `the ${error.type === 'body' ? 'JSON body' : error.type} is not as it should be${where}; see /api/v1/openapi.json`
}

const CODES: Record<string, [number, string, string]> = {
  NOT_FOUND: [404, 'not-found', 'there is nothing here; see /api/v1/openapi.json'],
  PARSE: [400, 'invalid', "the body can't be read as JSON"],
}

/** The answer for anything that was thrown; `onUnknown` hears of defects, the client does not. */
export const problemFor = (error: unknown, onUnknown: (error: unknown) => void): Response => {
  if (error instanceof AppError) return problem(STATUS[error.kind], error.slug, error.message)
  if (isValidation(error)) return problem(400, 'invalid', validationDetail(error))
  const code = typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : ''
  const known = CODES[code]
  if (known) return problem(...known)
  onUnknown(error)
  return problem(500, 'internal-error', 'something failed inside; the log says what')
}
