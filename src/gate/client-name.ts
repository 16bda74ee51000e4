import { limits } from '../limits.ts'
import { holdsSecret } from '../secret.ts'

/** What a client calls itself, as it may be shown and stored: never one of our secrets, not even a part of one. */
export const clientNameOf = (text: string | null | undefined): string | null =>
  !text || holdsSecret(text) ? null : text.slice(0, limits.clientNameLengthMax)
