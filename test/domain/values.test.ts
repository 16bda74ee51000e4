import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { clientAddress, parseCidr } from '../../src/address.ts'
import { nextHlc } from '../../src/fact.ts'
import { hostCheck } from '../../src/host.ts'
import { KeyRing, newRingKey, signatureHolds } from '../../src/key.ts'
import { parseDuration, parseExpiry, parseTime } from '../../src/time.ts'
import { isLinkLocal, serverName, serverUrl } from '../../src/upstream.ts'

test.each([
  ['45s', 45_000],
  ['10m', 600_000],
  ['12h', 43_200_000],
  ['30d', 2_592_000_000],
  [' 1s ', 1_000],
])('%p is %p ms', (text, ms) => {
  expect(parseDuration(text, 'x')).toBe(ms)
})

test.each(['', '10', 'm', '-5m', '1.5h', '10 m', '5w', '1m30s', '9999999999s'])('%p is no duration', (text) => {
  expect(() => parseDuration(text, 'grace')).toThrow('grace')
})

test.each([
  ['2026-12-31', '2027-01-01T00:00:00.000Z'],
  ['2026-12-31T18:00:00Z', '2026-12-31T18:00:00.000Z'],
  ['2026-12-31T18:00:00.5+02:00', '2026-12-31T16:00:00.500Z'],
])('%p means %p', (text, time) => {
  expect(new Date(parseTime(text, 'x')).toISOString()).toBe(time)
})

test.each(['', 'tomorrow', '2026-02-31', '2026-13-01', '31.12.2026', '2026-12-31T25:00:00Z', '1795226168291'])(
  '%p is no time',
  (text) => {
    expect(() => parseTime(text, 'expires')).toThrow('expires')
  },
)

test('an expiry in the past is refused', () => {
  expect(() => parseExpiry('2020-01-01', Date.now(), 'expires')).toThrow('past')
})

test('a host is ours or not', () => {
  const isOurs = hostCheck(['gate.example.com'])
  for (const host of [
    'localhost',
    'LOCALHOST:7070',
    '127.0.0.1:1',
    '[::1]:7070',
    '10.1.2.3',
    'gate.example.com',
    'gate.example.com.:443',
  ])
    expect(isOurs(host)).toBe(true)
  for (const host of [
    null,
    '',
    'evil.com',
    'localhost, localhost',
    'localhost:',
    'a/b',
    'localhost.evil.com',
    '127.0.0.1.evil.com',
    '[::1',
    'gate.example.com@evil.com',
  ])
    expect(isOurs(host)).toBe(false)
})

test.each([
  ['10.0.0.9', '1.2.3.4', [], '10.0.0.9'],
  ['10.0.0.9', '1.2.3.4', ['10.0.0.0/8'], '1.2.3.4'],
  ['10.0.0.9', '6.6.6.6, 1.2.3.4', ['10.0.0.0/8'], '1.2.3.4'],
  ['10.0.0.9', '6.6.6.6, 1.2.3.4, 10.2.2.2', ['10.0.0.0/8'], '1.2.3.4'],
  ['8.8.8.8', '1.2.3.4', ['10.0.0.0/8'], '8.8.8.8'],
  ['::ffff:10.0.0.9', '1.2.3.4', ['10.0.0.0/8'], '1.2.3.4'],
  ['10.0.0.9', 'nonsense', ['10.0.0.0/8'], '10.0.0.9'],
])('from %p with %p behind %p: %p', (peer, forwarded, proxies, address) => {
  expect(
    clientAddress(
      peer,
      new Headers({ 'x-forwarded-for': forwarded }),
      proxies.map((text) => parseCidr(text, 'x')),
    ),
  ).toBe(address)
})

test.each(['10.0.0.0/33', '10.0.0/8', 'x', '::1/129', '10.0.0.0/'])('%p is no network', (text) => {
  expect(() => parseCidr(text, '--trusted-proxy')).toThrow('--trusted-proxy')
})

test.each([
  'http://169.254.169.254/',
  'http://2852039166/',
  'http://0xa9fea9fe/',
  'http://0251.0376.0251.0376/',
  'http://[fe80::1]/',
  'http://[::ffff:169.254.1.1]/',
])('%p is link-local', (text) => {
  expect(isLinkLocal(new URL(text).hostname)).toBe(true)
  expect(() => serverUrl(text)).toThrow('link-local')
})

test.each(['ftp://x', 'file:///etc/passwd', 'http://user:pw@x', 'http://x?a=1', 'http://x#a', 'x', ''])(
  '%p is no URL for a server',
  (text) => {
    expect(() => serverUrl(text)).toThrow()
  },
)

test.each(['A', 'a b', '~', '..', '-a', 'a/b', 'a'.repeat(64), 'ü'])('%p is no name for a server', (name) => {
  expect(() => serverName(name)).toThrow()
})

test('a hybrid logical clock only goes forward, whatever the wall clock does', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 4_000_000_000_000 }), { minLength: 2, maxLength: 50 }), (walls) => {
      let last: string | null = null
      for (const wall of walls) {
        const next = nextHlc(last, wall)
        if (last !== null && next <= last) return false
        last = next
      }
      return true
    }),
  )
})

test('a ring seals, opens and signs; old keys go on working, strangers do not', () => {
  const first = newRingKey(1)
  const ring = new KeyRing({ database: 'db', keys: [first] })
  const old = ring.digest('secret')
  const sealed = ring.encrypt('Bearer upstream', 'headers of x')
  ring.replace([first, newRingKey(2)])
  const candidates: string[] = []
  ring.findBy('secret', (digest) => (candidates.push(Buffer.from(digest).toString('base64')), null))
  expect(candidates).toEqual([ring.digest('secret').digest, old.digest])
  expect(ring.digest('secret').digest).not.toBe(old.digest)
  expect(ring.decrypt(sealed, 'headers of x')).toBe('Bearer upstream')
  expect(() => ring.decrypt(sealed, 'headers of y')).toThrow('altered')
  expect(() =>
    ring.decrypt(
      sealed.replace(/.$/, (end) => (end === 'A' ? 'B' : 'A')),
      'headers of x',
    ),
  ).toThrow()
  const { publicKey, signature } = ring.sign('text')
  expect(signatureHolds('text', publicKey, signature)).toBe(true)
  expect(signatureHolds('texT', publicKey, signature)).toBe(false)
  expect(signatureHolds('text', 'nonsense', signature)).toBe(false)
  ring.replace([newRingKey(3)])
  expect(() => ring.decrypt(sealed, 'headers of x')).toThrow('no key')
})
