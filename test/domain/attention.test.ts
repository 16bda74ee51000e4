import { expect, test } from 'bun:test'
import { AttentionRounds } from '../../src/attention.ts'
import { limits } from '../../src/limits.ts'
import { Sightings } from '../../src/sightings.ts'
import type { NewToken, Token } from '../../src/token.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { UsageMeter } from '../../src/usage.ts'
import { eventually } from '../support/poll.ts'
import { serverAt } from '../support/server.ts'

const DAY_MS = 86_400_000
const NOW = Date.parse('2026-11-21T10:00:00Z')

const setUp = (own: Partial<typeof limits> = {}) => {
  const all = { ...limits, ...own }
  const clock = { now: NOW }
  const now = () => clock.now
  const tokens = new TokenIndex()
  const servers = new UpstreamIndex()
  servers.add(serverAt('http://127.0.0.1:1'))
  const usage = new UsageMeter()
  const sightings = new Sightings(all, now)
  const state = { changes: 0, rounds: 0, failing: false, takesMs: 0 }
  /** What is written of the tokens' last uses. */
  const written = new Map<string, number>()
  const failures: unknown[] = []
  const attention = new AttentionRounds({
    tokens,
    servers,
    usage,
    sightings,
    *lastUses() {
      state.rounds += 1
      clock.now += state.takesMs
      if (state.failing) throw new Error('no disk')
      yield [...written].map(([tokenId, lastUsedAt]) => ({ tokenId, lastUsedAt }))
    },
    changes: () => state.changes,
    limits: all,
    now,
    stopwatch: now,
    onFailed: (error) => failures.push(error),
  })
  /** Used now, and good for a year, unless said otherwise. */
  const token = (id: string, extra: Partial<NewToken> = {}, lastUsedAt: number | null = NOW): Token => {
    const made: NewToken = {
      id,
      name: id,
      subject: null,
      group: null,
      policy: null,
      servers: new Set(['srv_1']),
      createdAt: NOW - 100 * DAY_MS,
      createdBy: 'local:0',
      expiresAt: NOW + 365 * DAY_MS,
      revokedAt: null,
      revocationId: null,
      secrets: [],
      ...extra,
    }
    const added = tokens.add(made)
    state.changes += 1
    if (lastUsedAt !== null) written.set(id, lastUsedAt)
    return added
  }
  const find = async () => {
    const found = await attention.find()
    return Object.fromEntries(
      Object.entries(found)
        .filter(([, some]) => some.size > 0)
        .map(([kind, some]) => [kind, [...some].map(({ id }) => id)]),
    )
  }
  return { clock, tokens, servers, usage, sightings, state, failures, attention, token, find }
}

test('each token by what is wrong with it, and none that is well or dead', async () => {
  const { usage, sightings, servers, token, find } = setUp()
  token('well')
  token('unused', {}, NOW - 30 * DAY_MS - 1)
  token('used just long enough ago', {}, NOW - 30 * DAY_MS)
  token('never used', {}, null)
  token('never used, but new', { createdAt: NOW - 29 * DAY_MS }, null)
  token('used again, not written yet', {}, NOW - 40 * DAY_MS)
  usage.of('used again, not written yet').lastUsedAt = NOW
  token('refused since, not used', {}, NOW - 40 * DAY_MS)
  usage.of('refused since, not used').refusals = 3
  token('for ever', { expiresAt: null })
  token('soon', { expiresAt: NOW + 7 * DAY_MS })
  token('not so soon', { expiresAt: NOW + 7 * DAY_MS + 1 })
  token('wide')
  for (let n = 0; n < 5; n++) sightings.note({ tokenId: 'wide', address: `192.0.2.${n}`, lastAt: NOW })
  const gone = serverAt('http://127.0.0.1:2', { id: 'srv_2', name: 'gone' })
  servers.add(gone)
  servers.remove(gone, NOW)
  token('left', { servers: new Set(['srv_2', 'srv_unknown']) })
  token('half left', { servers: new Set(['srv_1', 'srv_2']) })
  const deadly = { servers: new Set(['srv_2']) }
  token('revoked', { ...deadly, expiresAt: null, revokedAt: NOW - DAY_MS }, null)
  token('expired', { ...deadly, expiresAt: NOW }, null)
  expect(await find()).toEqual({
    unused: ['unused', 'never used', 'refused since, not used'],
    'never-expires': ['for ever'],
    'expires-soon': ['soon'],
    'many-addresses': ['wide'],
    'no-server': ['left'],
  })
})

test('the last answer comes at once, and another round is made when it is a minute old', async () => {
  const { clock, state, token, find } = setUp()
  token('a', { expiresAt: null })
  // Both wait for the first round.
  expect(await Promise.all([find(), find()])).toEqual([{ 'never-expires': ['a'] }, { 'never-expires': ['a'] }])
  clock.now += limits.attentionMs - 1
  await find()
  expect(state.rounds).toBe(1)
  clock.now += 1
  expect(await find()).toEqual({ 'never-expires': ['a'] })
  await eventually(() => state.rounds === 2)
})

test('what takes long is not done again at once, though things change', async () => {
  const { clock, state, token, find } = setUp()
  state.takesMs = 1_000
  await find()
  token('a', { expiresAt: null })
  clock.now += limits.attentionRestTimes * state.takesMs - 1_001
  await find()
  expect(state.rounds).toBe(1)
  clock.now += 1
  await find()
  await eventually(() => state.rounds === 2)
})

test('a new token is found soon after', async () => {
  const { clock, state, token, find } = setUp()
  await find()
  token('a', { expiresAt: null })
  await find()
  expect(state.rounds).toBe(1)
  clock.now += limits.attentionAfterChangeMs
  await find()
  await eventually(async () => (await find())['never-expires'])
  expect(state.rounds).toBe(2)
})

test('what dies is gone from the next answer, by a revocation and by the clock', async () => {
  const { clock, state, sightings, token, find } = setUp({ tokensSlice: 1 })
  const leaked = token('leaked', { expiresAt: null }, null)
  for (let n = 0; n < 5; n++) sightings.note({ tokenId: 'leaked', address: `192.0.2.${n}`, lastAt: NOW })
  token('first', { expiresAt: NOW + 1_000 }, null)
  token('second', { expiresAt: NOW + 2_000 }, null)
  expect(await find()).toEqual({
    unused: ['leaked', 'first', 'second'],
    'never-expires': ['leaked'],
    'expires-soon': ['first', 'second'],
    'many-addresses': ['leaked'],
  })
  leaked.revokedAt = NOW
  state.changes += 1
  expect(await find()).toEqual({ unused: ['first', 'second'], 'expires-soon': ['first', 'second'] })
  clock.now += 1_000
  expect(await find()).toEqual({ unused: ['second'], 'expires-soon': ['second'] })
  clock.now += 999
  expect(await find()).toEqual({ unused: ['second'], 'expires-soon': ['second'] })
  clock.now += 1
  expect(await find()).toEqual({})
})

test('a round that fails is told of, and tried again', async () => {
  const { clock, state, failures, token, find } = setUp()
  token('a', { expiresAt: null })
  state.failing = true
  await expect(find()).rejects.toThrow('no disk')
  state.failing = false
  expect(await find()).toEqual({ 'never-expires': ['a'] })
  clock.now += limits.attentionMs
  state.failing = true
  expect(await find()).toEqual({ 'never-expires': ['a'] })
  await eventually(() => failures.length === 1)
  state.failing = false
  await find()
  await eventually(() => state.rounds === 4)
})
