import { expect, test } from 'bun:test'
import { Access, type AccessStore } from '../../src/access.ts'
import { Fold } from '../../src/audit.ts'
import { AppError } from '../../src/error.ts'
import { limits } from '../../src/limits.ts'
import type { Operator } from '../../src/operator.ts'

const HOUR_MS = 3_600_000
const OWNER = { name: 'operator:Grace', role: 'owner' } as const

/** Operators who sign in by links, with a store that may refuse to write. */
const setUp = () => {
  const operators: Operator[] = []
  const rows: string[] = []
  const lost: string[] = []
  const clock = { now: 1_000 * HOUR_MS }
  const state = { full: false }
  const write = (row: string) => {
    if (state.full) throw new AppError('storage', 'database or disk is full')
    rows.push(row)
  }
  const store: AccessStore = {
    all: () => operators,
    named: (name) => operators.find((operator) => operator.name === name) ?? null,
    insert: (operator) => void operators.push(operator),
    remove: () => {},
    putPassword: () => {},
    putSignIn: () => write('operator.sign-in'),
    putSessionEnd: (operator, { id }, action, actor) => write(`${action} ${operator.name} ${id} by ${actor.name}`),
    putLink: () => {},
  }
  const access = new Access({
    store,
    onUnaudited: (_error, id) => lost.push(id),
    fold: new Fold(10),
    limits,
    now: () => clock.now,
    stopwatch: () => clock.now,
  })
  const signIn = (name: string) => {
    access.ensureOperator(name)
    const code = new URL(access.signInLink(name).path, 'http://x').searchParams.get('code') ?? ''
    const secret = access.useSignInLink(code, { address: '192.0.2.1', client: null }) as string
    return { secret, id: access.sessions.find(secret)?.id as string }
  }
  const asks = (secret: string, renew: boolean) => access.actorOfSession(secret, '192.0.2.1', renew) !== null
  return { access, clock, state, rows, lost, signIn, asks }
}

test('live updates alone keep no session alive; a person does, but not for ever', () => {
  const { access, clock, signIn, asks } = setUp()
  const { secret } = signIn('Grace')
  for (let minute = 0; minute < 12 * 60; minute++) {
    expect(asks(secret, false)).toBe(true)
    clock.now += 60_000
  }
  expect(asks(secret, false)).toBe(false)
  expect(access.sessionsFor(OWNER)).toEqual([])
  const other = signIn('Grace')
  for (let hours = 0; hours < 7 * 24; hours += 8) {
    expect(asks(other.secret, true)).toBe(true)
    clock.now += 8 * HOUR_MS
  }
  expect(asks(other.secret, true)).toBe(false)
})

test('a session ends at once though the database takes no row, and that is told', () => {
  const { access, state, rows, lost, signIn, asks } = setUp()
  const [ended, left, stays] = [signIn('Grace'), signIn('Grace'), signIn('Grace')]
  state.full = true
  const before = rows.length
  access.endSession(ended.id, OWNER)
  access.signOut(left.secret)
  expect([asks(ended.secret, true), asks(left.secret, true), asks(stays.secret, true)]).toEqual([false, false, true])
  expect(lost).toEqual([ended.id, left.id])
  expect(rows.length).toBe(before)
  state.full = false
  access.endSession(stays.id, { ...OWNER, restricted: true })
  expect(rows.at(-1)).toBe(`operator.session-end Grace ${stays.id} by operator:Grace`)
})

test('a name that begins like an own one is another', () => {
  const { access, signIn, asks } = setUp()
  const grace = signIn('Grace')
  const actor = { name: 'operator:Grac', role: 'operator' } as const
  expect(access.sessionsFor(actor)).toEqual([])
  expect(() => access.endSession(grace.id, actor)).toThrow('no session has that id')
  expect(() => access.endSession(grace.id, { name: 'apikey:Grace', role: 'operator' })).toThrow('no session')
  expect(asks(grace.secret, true)).toBe(true)
})
