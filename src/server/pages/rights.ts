import { type Actor, ROLES } from '../../operator.ts'

/** Whether somebody may revoke and kill; a restricted sign-in may do that too, and nothing else. */
export const mayAct = ({ role }: Actor): boolean => ROLES.indexOf(role) <= ROLES.indexOf('operator')

/** Whether somebody may say which programs run on the node's machine. */
export const mayRunCommands = (actor: Actor): boolean => actor.role === 'owner' && !actor.restricted

/** Whether somebody may make and change things. */
export const mayChange = (actor: Actor): boolean => mayAct(actor) && !actor.restricted
