import { expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { accept, dial, type KeyOf, type Trust } from '../../src/cluster/handshake.ts'
import { limits } from '../../src/limits.ts'
import { membership, SECRET, trustOf } from './nodes.ts'

const keysOf =
  (...nodes: (Trust & { publicKey: string })[]): KeyOf =>
  (id) =>
    nodes.find((node) => node.self().id === id)?.publicKey ?? null

type Change = (text: string) => string
const same: Change = (text) => text

/** Both halves against each other, with what somebody in between does to the texts. */
const shake = (a: Trust, b: Trust, keys: KeyOf, change: { hello?: Change; welcome?: Change; proof?: Change } = {}) => {
  const { hello = same, welcome = same, proof = same } = change
  const dialled = dial(a, keys, 'b')
  const answer = accept(b, keys, hello(dialled.hello))
  if (typeof answer === 'string') return { accepted: answer, dialled: null }
  const finished = dialled.finish(welcome(answer.welcome))
  if (typeof finished === 'string') return { accepted: null, dialled: finished }
  return { accepted: answer.finish(proof(finished.proof)), dialled: finished }
}

/** Who shows a member's public key, and has not the private one. */
const pretenderOf = (member: Trust): Trust => {
  let shown = false
  const own = new Uint8Array(randomBytes(32))
  return {
    ...member,
    get privateKey() {
      if (shown) return own
      shown = true
      return member.privateKey
    },
  }
}

test('two members come to the same keys, which no other link has', () => {
  const [a, b] = [trustOf('a'), trustOf('b')]
  const keys = keysOf(a, b)
  const [one, two] = [shake(a, b, keys), shake(a, b, keys)]
  for (const { accepted, dialled } of [one, two]) {
    if (!accepted || !dialled || typeof accepted === 'string' || typeof dialled === 'string') throw new Error('refused')
    expect([dialled.peer, accepted.peer]).toEqual(['b', 'a'])
    expect(accepted.session.open(dialled.session.seal(Buffer.from('there')))).toEqual(Buffer.from('there'))
    expect(dialled.session.open(accepted.session.seal(Buffer.from('back')))).toEqual(Buffer.from('back'))
  }
  if (!one.dialled || !two.accepted || typeof one.dialled === 'string' || typeof two.accepted === 'string') throw one
  expect(two.accepted.session.open(one.dialled.session.seal(Buffer.from('x')))).toBe('wrong_key')
})

test('both take the newest secret that both know; also after a fork, where a version has two', () => {
  const fork = (byte: number) => ({ version: 7, secret: new Uint8Array(32).fill(byte) })
  const a = trustOf('a', { secrets: [fork(1), SECRET] })
  const b = trustOf('b', { secrets: [{ version: 8, secret: new Uint8Array(32) }, fork(2), SECRET] })
  const { accepted, dialled } = shake(a, b, keysOf(a, b))
  expect(accepted).toMatchObject({ peer: 'a', claim: { version: SECRET.version } })
  expect(dialled).toMatchObject({ peer: 'b', claim: { version: SECRET.version } })
})

test('no secret is left that both know', () => {
  const a = trustOf('a', { secrets: [{ version: 2, secret: new Uint8Array(32) }] })
  const b = trustOf('b')
  expect(shake(a, b, keysOf(a, b)).accepted).toBe('wrong_key')
})

test('so many secrets are offered, and not one more', () => {
  const secrets = Array.from({ length: limits.clusterSecretsMax + 1 }, (_, index) => ({
    version: 100 - index,
    secret: new Uint8Array(randomBytes(32)),
  }))
  const a = trustOf('a', { secrets })
  const knows = (index: number) => trustOf('b', { secrets: secrets.slice(index, index + 1) })
  const last = knows(limits.clusterSecretsMax - 1)
  expect(shake(a, last, keysOf(a, last)).accepted).toMatchObject({ peer: 'a' })
  const tooOld = knows(limits.clusterSecretsMax)
  expect(shake(a, tooOld, keysOf(a, tooOld)).accepted).toBe('wrong_key')
})

test('the secret alone is not enough: who has another key than the member is refused, on either side', () => {
  const [a, b, thief] = [trustOf('a'), trustOf('b'), trustOf('a')]
  expect(shake(thief, b, keysOf(a, b)).accepted).toBe('wrong_key')
  // It states the member's key, and does not have the private one.
  const stated = shake(thief, b, keysOf(a, b), { hello: (text) => text.replaceAll(thief.publicKey, a.publicKey) })
  expect([stated.accepted, stated.dialled]).toEqual([null, 'wrong_key'])
  // It states it in all that it says and reckons with, too.
  expect(shake(pretenderOf(a), b, keysOf(a, b))).toMatchObject({ accepted: null, dialled: 'wrong_key' })
  expect(shake(a, pretenderOf(b), keysOf(a, b)).dialled).toBe('wrong_key')
  const pretender = trustOf('b')
  expect(shake(a, pretender, (id) => (id === 'a' ? a.publicKey : b.publicKey)).dialled).toBe('wrong_key')
})

test('nor is the key alone, for who knows the fingerprint of a secret only', () => {
  const [a, b] = [trustOf('a', { secrets: [{ version: 1, secret: new Uint8Array(32) }] }), trustOf('b')]
  const offered = JSON.parse(dial(trustOf('x'), keysOf(), 'b').hello).secrets
  const hello: Change = (text) => JSON.stringify({ ...JSON.parse(text), secrets: offered })
  expect(shake(a, b, keysOf(a, b), { hello })).toMatchObject({ accepted: null, dialled: 'wrong_key' })
  // Nor if it reckons with the fingerprint as if it had the secret: read twice to be named, and then for the keys.
  let reads = 0
  const only = {
    version: 1,
    get secret() {
      return ++reads > 2 ? new Uint8Array(32) : SECRET.secret
    },
  }
  expect(shake({ ...a, secrets: () => [only] }, b, keysOf(a, b))).toMatchObject({ dialled: 'wrong_key' })
  expect(reads).toBe(3)
  const answer = accept(b, keysOf(a, b), hello(dial(a, keysOf(a, b), 'b').hello))
  if (typeof answer === 'string') throw new Error(answer)
  expect(answer.finish('x'.repeat(43))).toBe('wrong_key')
  expect(answer.finish('')).toBe('wrong_key')
})

test('strangers, other clusters, wrong addresses and oneself are refused', () => {
  const [a, b, c] = [trustOf('a'), trustOf('b'), trustOf('c')]
  expect(shake(c, b, keysOf(a, b)).accepted).toBe('not_a_member')
  const elsewhere = trustOf('a', { cluster: 'db_other' })
  expect(shake(elsewhere, b, keysOf(a, b)).accepted).toBe('not_a_member')
  expect(shake(a, c, keysOf(a, b, c)).accepted).toBe('not_a_member')
  expect(shake(b, b, keysOf(a, b)).accepted).toBe('not_a_member')
})

test('a member answers for the one that its folder was, and for no other', () => {
  const [a, answers] = [trustOf('a'), trustOf('b', { formerly: ['c'] })]
  const keys = keysOf(a, answers)
  const [toC, toD] = [dial(a, keys, 'c'), dial(a, keys, 'd')]
  expect(accept(answers, keys, toD.hello)).toBe('not_a_member')
  const answer = accept(answers, keys, toC.hello)
  if (typeof answer === 'string') throw new Error(answer)
  expect(toC.finish(answer.welcome)).toMatchObject({ peer: 'b', former: false, claim: { formerly: ['c'] } })
})

test('who was a member is asked about only once it has proved its claim', () => {
  const asked: unknown[] = []
  const former = (claim: unknown) => asked.push(claim) > 0
  const b = trustOf('b', { former })
  const was = trustOf('a2', { formerly: ['a'] })
  expect(shake(was, b, keysOf(b), { proof: (text) => `x${text.slice(1)}` }).accepted).toBe('wrong_key')
  expect(asked).toEqual([])
  const claim = { id: 'a2', key: was.publicKey, url: 'ws://a2.test:7072', formerly: ['a'], version: SECRET.version }
  expect(shake(was, b, keysOf(b)).accepted).toMatchObject({ former: true, peer: 'a2', claim })
  expect(asked).toEqual([claim])
  const strict = trustOf('b')
  expect(shake(was, strict, keysOf(strict)).accepted).toBe('not_a_member')
  // The same where it is the one that answers: it is dialled as the member that it was.
  const answers = trustOf('b2', { formerly: ['b'] })
  const asksNot = trustOf('a')
  expect(shake(asksNot, answers, keysOf(asksNot)).dialled).toBe('not_a_member')
  const asks = trustOf('a', { former })
  expect(shake(asks, answers, keysOf(asks)).dialled).toMatchObject({ former: true, peer: 'b2' })
})

test('a removed node ends with a link that is only there to tell it', () => {
  const [a, b] = [trustOf('a'), trustOf('b', { removed: (id) => (id === 'a' ? membership(3) : null) })]
  expect(shake(a, b, keysOf(b)).accepted).toMatchObject({ peer: 'a', removal: { version: 3 } })
})

test('whoever changes anything on the way ends the handshake', () => {
  const [a, b] = [trustOf('a', { formerly: ['z'] }), trustOf('b', { formerly: ['y'] })]
  const keys = keysOf(a, b)
  const which = fc.constantFrom('hello' as const, 'welcome' as const, 'proof' as const)
  fc.assert(
    fc.property(which, fc.nat(), fc.constantFrom('0', 'A', 'z', '"', ',', '', ' '), (what, at, by) => {
      let changed = false
      const outcome = shake(a, b, keys, {
        [what]: (text: string) => {
          const place = at % text.length
          const other = text.slice(0, place) + by + text.slice(place + 1)
          changed = !sameMeaning(text, other)
          return other
        },
      })
      if (!changed) return
      expect([outcome.accepted, outcome.dialled].some((end) => typeof end === 'string')).toBe(true)
    }),
    { numRuns: 1_500 },
  )
})

/** Blanks between the parts of JSON say nothing. */
const sameMeaning = (one: string, other: string): boolean => {
  try {
    return JSON.stringify(JSON.parse(one)) === JSON.stringify(JSON.parse(other))
  } catch {
    return one === other
  }
}

test('keys with which anybody would come to the same result are refused', () => {
  const [a, b] = [trustOf('a'), trustOf('b')]
  const zero = Buffer.alloc(32).toString('base64')
  const hello: Change = (text) => {
    const said = JSON.parse(text)
    said.from.once = zero
    return JSON.stringify(said)
  }
  expect(shake(a, b, keysOf(a, b), { hello }).accepted).toBe('wrong_key')
})

test('one byte above the longest hello is not read', () => {
  const [a, b] = [trustOf('a'), trustOf('b')]
  const { hello } = dial(a, keysOf(a, b), 'b')
  const padded = (length: number) => hello + ' '.repeat(length - hello.length)
  expect(accept(b, keysOf(a, b), padded(limits.clusterHelloBytesMax))).not.toBeString()
  expect(accept(b, keysOf(a, b), padded(limits.clusterHelloBytesMax + 1))).toBe('malformed')
})

test('a node of the next version, which knows this one too, is talked to; one that does not is refused', () => {
  const [a, b] = [trustOf('a'), trustOf('b')]
  const speaks =
    (frames: number[]): Change =>
    (text) =>
      JSON.stringify({ ...JSON.parse(text), frames, mood: 'new' })
  const keys = keysOf(a, b)
  expect(accept(b, keys, speaks([2, 1])(dial(a, keys, 'b').hello))).not.toBeString()
  expect(accept(b, keys, speaks([2])(dial(a, keys, 'b').hello))).toBe('wrong_version')
})
