import { AppError } from './error.ts'

/** From the most to the least that one may do. */
export const ROLES = ['owner', 'operator', 'auditor'] as const
export type Role = (typeof ROLES)[number]

/** Who does something, as it stands in the audit log. */
export interface Actor {
  /** `operator:NAME`, `apikey:NAME`, `local:UID` or `system`. */
  name: string
  role: Role
  /** Signed in while the database could not be written: may revoke, kill and close, and nothing else. */
  restricted?: boolean
}

export const SYSTEM: Actor = { name: 'system', role: 'owner' }

/** A person who signs in to the console. */
export interface Operator {
  id: string
  name: string
  role: Role
  createdAt: number
  lastSignInAt: number | null
  /** argon2id, PHC string; null until a password was set by a one-time link. */
  passwordHash: string | null
}

/** Throws `forbidden` unless the actor's role is that one or more. `emergency`: revoke, kill and close. */
export const requireRole = (actor: Actor, needed: Role, emergency = false): void => {
  if (actor.restricted && !emergency) {
    throw new AppError(
      'forbidden',
      'the database could not be written when you signed in: only revoke, kill and close work; sign in again once it can',
    )
  }
  if (ROLES.indexOf(actor.role) > ROLES.indexOf(needed)) {
    throw new AppError('forbidden', `this needs the role ${needed}; ${actor.name} has the role ${actor.role}`)
  }
}
