import { AppError } from '../../error.ts'
import { type Actor, requireRole } from '../../operator.ts'
import { visitOf } from '../context.ts'

/** Who is signed in. Throws `unauthenticated`; an API key is not a person. */
export const personOf = (request: Request): { actor: Actor; arrivedAt: number } => {
  const { actor, session, arrivedAt } = visitOf(request)
  if (!actor || !session) throw new AppError('unauthenticated', 'sign in first')
  return { actor, arrivedAt }
}

/** The owner who is signed in. Throws `forbidden` for anybody else. */
export const ownerOf = (request: Request): Actor => {
  const { actor } = personOf(request)
  requireRole(actor, 'owner')
  return actor
}
