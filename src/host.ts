import { isIP } from 'node:net'
import { unbracketed } from './address.ts'

/**
 * Which `Host` headers are ours (RFC 9110 §7.2): localhost, any IP literal, and names that a person gave.
 * Another name means DNS rebinding: a page of a stranger, resolved to our address.
 */
export const hostCheck = (names: Iterable<string>): ((host: string | null) => boolean) => {
  const own = new Set(['localhost', ...names].map((name) => name.toLowerCase()))
  // Nearly all requests say the same: the last that was ours is not looked at again.
  let last: string | undefined
  return (host) => {
    if (host === null) return false
    if (host === last) return true
    // A doubled header arrives joined by a comma, which no host has.
    const [, name = ''] = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.exec(host) ?? []
    if (name === '') return false
    const isOurs = isIP(unbracketed(name)) !== 0 || own.has(name.toLowerCase().replace(/\.$/, ''))
    if (isOurs) last = host
    return isOurs
  }
}
