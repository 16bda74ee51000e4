import { invalid } from '../../error.ts'

/** The fields of a form as browsers send it. Throws `invalid` for anything else. */
export const formOf = async (request: Request): Promise<URLSearchParams> => {
  const type = request.headers.get('content-type') ?? ''
  if (!/^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(type)) throw invalid('send the form as a browser does')
  return new URLSearchParams(await request.text())
}

/** Elysia must leave the body alone: the form reads it. */
export const FORM = { parse: 'none' } as const
