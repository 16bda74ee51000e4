import { BlockList, isIP } from 'node:net'
import { invalid } from './error.ts'

/** A network of trusted proxies. */
export interface Cidr {
  text: string
  contains(address: string): boolean
}

/** The address without the IPv6 prefix that a dual-stack socket puts before IPv4. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

const family = (address: string): 'ipv4' | 'ipv6' => (isIP(address) === 6 ? 'ipv6' : 'ipv4')

/** `10.0.0.0/8`, `fd00::/8` or a single address. Throws `invalid`, naming the setting. */
export const parseCidr = (text: string, what: string): Cidr => {
  const [address = '', bits, ...more] = text.split('/')
  const version = isIP(address)
  const widest = version === 6 ? 128 : 32
  const width = bits === undefined ? widest : /^\d{1,3}$/.test(bits) ? Number(bits) : -1
  if (version === 0 || width < 0 || width > widest || more.length > 0) {
    throw invalid(`${what}: "${text}" is not a network; write it like 10.0.0.0/8`)
  }
  const list = new BlockList()
  list.addSubnet(address, width, family(address))
  return { text, contains: (candidate) => isIP(candidate) !== 0 && list.check(candidate, family(candidate)) }
}

/**
 * Whom a request is from: the socket's peer, or, where that is a trusted proxy, the last address of
 * `X-Forwarded-For` that is not one (RFC 7239 §7.4 on spoofing: what stands before it was not checked).
 */
export const clientAddress = (peer: string, forwardedFor: string | null, proxies: readonly Cidr[]): string => {
  let address = plainAddress(peer)
  if (forwardedFor === null || proxies.length === 0) return address
  const trusted = (candidate: string) => proxies.some((proxy) => proxy.contains(candidate))
  for (const hop of forwardedFor
    .split(',')
    .map((part) => plainAddress(part.trim()))
    .toReversed()) {
    if (!trusted(address) || isIP(hop) === 0) break
    address = hop
  }
  return address
}
