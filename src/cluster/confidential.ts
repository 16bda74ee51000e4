import { isMember } from './membership.ts'
import type { Membership, Message } from './message.ts'

const without = (membership: Membership, peer: string): Membership =>
  isMember(membership, peer) ? membership : { ...membership, secret: '' }

/**
 * A message as it may go to a peer: who is removed learns that it is, but not the secret that was made because of it. Null:
 * it does not get it at all. A removal has the votes of the others; of two, the one that is removed has to agree.
 */
export const confidential = (message: Message, peer: string): Message | null => {
  switch (message.t) {
    case 'view':
      return { ...message, memberships: message.memberships.map((one) => without(one, peer)) }
    case 'chosen':
      return { ...message, membership: without(message.membership, peer) }
    case 'accept':
      return isMember(message.membership, peer) || message.membership.members.length < 2 ? message : null
    default:
      return message
  }
}
