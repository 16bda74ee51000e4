import { BlockList, isIP } from 'node:net'
import { invalid } from './error.ts'

/** A network of trusted proxies. */
export interface Cidr {
  text: string
  contains(address: string): boolean
}

/** The address without the IPv6 prefix that a dual-stack socket puts before IPv4. */
export const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/i, '')

/** An address of IPv6 as it stands before a port, and in URLs (RFC 3986 §3.2.2); others as they are. */
export const bracketed = (host: string): string => (isIP(host) === 6 ? `[${host}]` : host)
/** The same as sockets take it. */
export const unbracketed = (host: string): string => host.replace(/^\[|\]$/g, '')

/** Where a URL leads, as a socket takes it. */
export const endpointOf = ({ protocol, hostname, port }: URL): { host: string; port: number; tls: boolean } => {
  const tls = protocol === 'https:' || protocol === 'wss:'
  return { host: unbracketed(hostname), port: Number(port || (tls ? 443 : 80)), tls }
}

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

/** One spelling of each address, without port, brackets or zone; null for what is none (`unknown`, `_hidden`). */
const addressOf = (node: string): string | null => {
  const [, v6, v4] = /^(?:\[([^\]]*)\]|(\d+\.\d+\.\d+\.\d+))(?::\w+)?$/.exec(node) ?? []
  const address = (v6 ?? v4 ?? node).replace(/%.*$/, '')
  if (isIP(address) === 4) return address
  // What the one takes for an address, the other does not always.
  if (isIP(address) === 0 || !URL.canParse(`http://[${address}]`)) return null
  const { hostname } = new URL(`http://[${address}]`)
  const [, high, low] = /^\[::ffff:([0-9a-f]+):([0-9a-f]+)\]$/.exec(hostname) ?? []
  if (high === undefined || low === undefined) return hostname.slice(1, -1)
  const bytes = [high, low].flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255])
  return bytes.join('.')
}

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const PAIR = `(${TOKEN})=(${TOKEN}|"(?:[^"\\\\]|\\\\.)*")`
/** One element of `Forwarded` (RFC 7239 §4), with what is needed to go on behind it. */
const ELEMENT = new RegExp(`^[ \\t]*((?:${PAIR}(?:[ \\t]*;[ \\t]*|(?=[ \\t]*(?:,|$))))*)[ \\t]*(?:,|$)`)

/** The `for` of each hop, nearest last; null where a hop hides it. What can't be read says nothing at all. */
const forwardedHops = (header: string): (string | null)[] => {
  const hops: (string | null)[] = []
  for (let rest = header; rest !== '';) {
    const [whole, pairs] = ELEMENT.exec(rest) ?? []
    // Somebody else's half of a quoted string may reach into what the proxy said.
    if (whole === undefined || pairs === undefined) return []
    const nodes = [...pairs.matchAll(new RegExp(PAIR, 'g'))].filter(([, name]) => name?.toLowerCase() === 'for')
    const [, , value = ''] = nodes[0] ?? []
    const node = value.startsWith('"') ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1') : value
    hops.push(nodes.length === 1 ? addressOf(node) : null)
    rest = rest.slice(whole.length)
  }
  return hops
}

/** The headers in which proxies say whom they speak for. */
export const FORWARDING = ['x-forwarded-for', 'forwarded', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'via']

/**
 * Whom a request is from: the socket's peer, or, where that is a trusted proxy, the last address that it was
 * forwarded for and that is not one (RFC 7239 §8.1: what stands before it was not checked). Where there is
 * `X-Forwarded-For`, `Forwarded` is not looked at: a proxy that sets the one may pass on a client's own other.
 */
export const clientAddress = (peer: string, headers: Pick<Headers, 'get'>, proxies: readonly Cidr[]): string => {
  let address = plainAddress(peer)
  if (proxies.length === 0) return address
  const trusted = (candidate: string) => proxies.some((proxy) => proxy.contains(candidate))
  if (!trusted(address)) return address
  const list = headers.get('x-forwarded-for')
  const hops = list?.split(',').map((hop) => addressOf(hop.trim())) ?? forwardedHops(headers.get('forwarded') ?? '')
  for (const hop of hops.toReversed()) {
    if (hop === null) break
    address = hop
    if (!trusted(address)) break
  }
  return address
}
