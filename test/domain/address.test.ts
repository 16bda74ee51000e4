import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { isIP } from 'node:net'
import { clientAddress, parseCidr } from '../../src/address.ts'

const PROXIES = ['10.0.0.0/8', '::1', 'fd00::/8'].map((text) => parseCidr(text, 'x'))
const from = (sent: Record<string, string>, peer = '10.0.0.1') => clientAddress(peer, new Headers(sent), PROXIES)

test.each([
  ['1.2.3.4', '1.2.3.4'],
  ['1.2.3.4:5678', '1.2.3.4'],
  ['[2001:db8::9]:80', '2001:db8::9'],
  ['[2001:db8::9]', '2001:db8::9'],
  ['2001:DB8:0:0::9', '2001:db8::9'],
  ['::ffff:1.2.3.4', '1.2.3.4'],
  ['::ffff:102:304', '1.2.3.4'],
  ['fe80::1%eth0', 'fe80::1'],
  ['6.6.6.6, 1.2.3.4, 10.2.2.2, fd00::7', '1.2.3.4'],
  // What can't be read is not skipped: what stands before it was said by nobody who is trusted.
  ['6.6.6.6, unknown', '10.0.0.1'],
  ['6.6.6.6, _hidden, 10.2.2.2', '10.2.2.2'],
  ['6.6.6.6,', '10.0.0.1'],
  ['01.2.3.4', '10.0.0.1'],
  ['', '10.0.0.1'],
])('X-Forwarded-For: %p is %p', (sent, address) => {
  expect(from({ 'x-forwarded-for': sent })).toBe(address)
})

test.each([
  ['for=1.2.3.4', '1.2.3.4'],
  ['For="[2001:DB8:0::1]:4711";proto=https;by=10.0.0.1', '2001:db8::1'],
  ['proto=https ; for="1.2.3.4:80"', '1.2.3.4'],
  ['for="\\1.2.3.4"', '1.2.3.4'],
  ['for=6.6.6.6, for=1.2.3.4, for=10.2.2.2', '1.2.3.4'],
  ['for="a, b", for=1.2.3.4', '1.2.3.4'],
  ['for=6.6.6.6, for=unknown', '10.0.0.1'],
  ['for=6.6.6.6, for=_hidden', '10.0.0.1'],
  ['for=6.6.6.6, proto=https', '10.0.0.1'],
  ['for=1.2.3.4;for=6.6.6.6', '10.0.0.1'],
  // A client's half of a quoted string, and the proxy's own behind it.
  ['for="6.6.6.6, for=1.2.3.4', '10.0.0.1'],
  ['for="6.6.6.6, for="[2001:db8::1]:80"', '10.0.0.1'],
  ['for="x\\, for="[2001:db8::1]"', '10.0.0.1'],
  ['for=6.6.6.6 for=1.2.3.4', '10.0.0.1'],
  ['nonsense', '10.0.0.1'],
])('Forwarded: %p is %p', (sent, address) => {
  expect(from({ forwarded: sent })).toBe(address)
})

test('two lines are one list, in order; other headers say nothing', () => {
  const lines = new Headers([
    ['x-forwarded-for', '6.6.6.6'],
    ['x-forwarded-for', '1.2.3.4'],
  ])
  expect(clientAddress('10.0.0.1', lines, PROXIES)).toBe('1.2.3.4')
  expect(from({ 'x-real-ip': '6.6.6.6', 'true-client-ip': '6.6.6.6', via: '6.6.6.6' })).toBe('10.0.0.1')
})

test('where there is X-Forwarded-For, Forwarded is not looked at: it may be the client that sent it', () => {
  expect(from({ 'x-forwarded-for': '1.2.3.4', forwarded: 'for=6.6.6.6' })).toBe('1.2.3.4')
  expect(from({ 'x-forwarded-for': 'unknown', forwarded: 'for=6.6.6.6' })).toBe('10.0.0.1')
})

describe('whatever is sent', () => {
  const piece = fc.constantFrom(
    'for',
    '=',
    ';',
    ',',
    '"',
    '\\',
    ' ',
    '[',
    ']',
    ':',
    '1.2.3.4',
    '::1',
    '10.0.0.2',
    '%',
    'x',
  )
  const text = fc.oneof(
    fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join('')),
    fc.string({ unit: 'binary-ascii' }).map((any) => any.replaceAll(/[\0\r\n]/g, '')),
    fc.oneof(fc.ipV4(), fc.ipV6()),
  )
  const name = fc.constantFrom('x-forwarded-for', 'forwarded')
  const headers = fc
    .record({ name, text })
    .map(({ name: key, text: value }) => ({ get: (asked: string) => (asked === key ? value : null) }))
  const stranger = fc.ipV4().filter((address) => !address.startsWith('10.'))

  test('a peer that is not trusted stays who it is', () => {
    fc.assert(fc.property(stranger, headers, (peer, sent) => clientAddress(peer, sent, PROXIES) === peer))
    fc.assert(fc.property(fc.ipV4(), headers, (peer, sent) => clientAddress(peer, sent, []) === peer))
  })

  test('the answer is an address', () => {
    const isAddress = (sent: Pick<Headers, 'get'>) => isIP(clientAddress('10.0.0.1', sent, PROXIES)) !== 0
    fc.assert(fc.property(headers, isAddress), { numRuns: 2_000 })
  })

  // What a client sends stands before what the proxy adds.
  test('a client behind a trusted proxy is who the proxy says, or nobody but the proxy', () => {
    fc.assert(
      fc.property(
        text,
        stranger,
        (said, client) => from({ 'x-forwarded-for': `${said.trim()}, ${client}` }) === client,
      ),
      { numRuns: 2_000 },
    )
    const added = fc.constantFrom<(client: string) => string>(
      (client) => `for=${client}`,
      (client) => `for="${client}:80";proto=https`,
    )
    const honest = (said: string, client: string, add: (client: string) => string) => {
      const sent = { get: (key: string) => (key === 'forwarded' ? `${said}, ${add(client)}` : null) }
      return [client, '10.0.0.1'].includes(clientAddress('10.0.0.1', sent, PROXIES))
    }
    fc.assert(fc.property(text, stranger, added, honest), { numRuns: 5_000 })
  })

  test('and however long, it is read in no time', () => {
    const longest = 16_000
    for (const unit of ['for=1.1.1.1,', 'a=b;', 'a="', '\\', ' ', 'a=b ', '="', ',', ';']) {
      const startedAt = performance.now()
      from({ forwarded: `x${unit.repeat(longest / unit.length)}"` })
      expect(performance.now() - startedAt).toBeLessThan(100)
    }
  })
})
