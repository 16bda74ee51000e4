import type { Role } from '../../operator.ts'

/** What OpenAPI says of a route: what it does, and the least role that may ask for it. */
export const told = (role: Role, summary: string) => ({ summary, description: `Needs the role ${role}.` })
