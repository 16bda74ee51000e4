import type { Fold } from './audit.ts'
import { AppError, conflict, invalid, notFound } from './error.ts'
import { newId } from './id.ts'
import type { Limits } from './limits.ts'
import { type LinkPurpose, Links } from './link.ts'
import { type Actor, type Operator, requireRole, type Role, SYSTEM } from './operator.ts'
import { type OperatorSession, OperatorSessions, type Visitor } from './session.ts'
import { keepable, line } from './text.ts'
import { Throttle } from './throttle.ts'
import type { Clock, Stopwatch } from './time.ts'

export interface AccessStore {
  all(): Operator[]
  named(name: string): Operator | null
  insert(operator: Operator, actor: Actor): void
  remove(operators: readonly Operator[], actor: Actor): void
  putPassword(operator: Operator, passwordHash: string, actor: Actor): void
  putSignIn(operator: Operator, at: number, session: { id: string; address: string }): void
  /** Notes that a session was ended, by its own person or by another. */
  putSessionEnd(operator: Operator, session: OperatorSession, action: SessionEnd, actor: Actor): void
  /** Notes who made a one-time link, and for whom; null: for the first owner. */
  putLink(operator: Operator | null, actor: Actor): void
}

export type SessionEnd = 'operator.sign-out' | 'operator.session-end'

export interface AccessDeps {
  store: AccessStore
  /** Told when a session was ended and the audit row could not be written. */
  onUnaudited(error: unknown, sessionId: string): void
  fold: Fold
  limits: Limits
  now: Clock
  /** How long sessions and throttles last: a clock that is set must lock nobody out, and keep no session alive. */
  stopwatch: Stopwatch
}

/** A session, and whose it is. */
export interface SessionOf {
  session: OperatorSession
  operator: Operator
}

export interface OneTimeLink {
  path: string
  expiresAt: number
}

/** Verified for names that nobody has, so that a sign-in with one takes as long as any other. */
const DECOY =
  '$argon2id$v=19$m=65536,t=2,p=1$kMvtblHTbDBxQPlc1TfrRg2HRy5oZNaDThvOM7PEPuc$kft72NCb83v4VKCWeA8obVcm8SONF6GXel/kln8U6NE'

/** Who may use the console: operators, with passwords or one-time links. */
export class Access {
  readonly links: Links
  readonly sessions: OperatorSessions
  readonly #throttle: Throttle
  #hashing = 0

  constructor(readonly deps: AccessDeps) {
    const { now, stopwatch, limits } = deps
    this.links = new Links(now, limits.setupLinkMs)
    this.sessions = new OperatorSessions(now, stopwatch, limits)
    this.#throttle = new Throttle(stopwatch, limits.signInTriesMax, limits.signInWindowMs, limits.signInAddressesMax)
  }

  /** Passwords that are being hashed: whoever comes when it is full is told to try again. */
  get hashing(): number {
    return this.#hashing
  }

  get hasOwner(): boolean {
    return this.deps.store.all().some((operator) => operator.role === 'owner' && operator.passwordHash !== null)
  }

  operators(): Operator[] {
    return this.deps.store.all()
  }

  #named(name: string): Operator {
    const operator = this.deps.store.named(name)
    if (!operator) throw notFound('no operator has that name')
    return operator
  }

  /** The link that makes the first owner. Throws `conflict` once there is one. */
  setupLink(actor: Actor): OneTimeLink {
    if (this.hasOwner)
      throw conflict('an owner exists already: see portcullis operator ls, then: portcullis operator reset NAME')
    this.deps.store.putLink(null, actor)
    return this.#link({ kind: 'setup' })
  }

  #link(purpose: LinkPurpose): OneTimeLink {
    const { code, expiresAt } = this.links.make(purpose)
    return { path: `/setup?code=${code}`, expiresAt }
  }

  /** A link that signs its bearer in once: for the demo, which has no set-up. */
  signInLink(name: string): OneTimeLink {
    return this.#link({ kind: 'sign-in', operatorId: this.#named(name).id })
  }

  create(name: string, role: Role, actor: Actor): { operator: Operator; link: OneTimeLink } {
    requireRole(actor, 'owner')
    const operator: Operator = {
      id: newId('op'),
      name: line(name, 'the name'),
      role,
      createdAt: this.deps.now(),
      lastSignInAt: null,
      passwordHash: null,
    }
    this.deps.store.insert(operator, actor)
    return { operator, link: this.#link({ kind: 'password', operatorId: operator.id }) }
  }

  remove(name: string, actor: Actor): void {
    requireRole(actor, 'owner')
    const { id } = this.#named(name)
    const all = this.deps.store.all()
    // Two nodes may each have made one of that name: both go.
    const removed = all.filter((operator) => operator.id === id || operator.name === name)
    const isOwner = ({ role, passwordHash }: Operator) => role === 'owner' && passwordHash !== null
    if (removed.some(isOwner) && !all.some((other) => isOwner(other) && !removed.includes(other))) {
      throw conflict("the last owner can't be removed: make another owner first, who sets a password by their link")
    }
    this.deps.store.remove(removed, actor)
    for (const operator of removed) this.sessions.closeAllOf(operator.id)
  }

  /**
   * A link by which an operator sets a new password; an older one dies. The old password and the sessions under it end
   * when it is used: a link that never arrives must not lock anybody out.
   */
  reset(name: string, actor: Actor): OneTimeLink {
    requireRole(actor, 'owner')
    const operator = this.#named(name)
    this.deps.store.putLink(operator, actor)
    return this.#link({ kind: 'password', operatorId: operator.id })
  }

  /** Which command prints a link for whoever is locked out. */
  get linkCommand(): string {
    return this.hasOwner ? 'portcullis operator reset NAME' : 'portcullis setup'
  }

  /** What to say of a link that opens nothing. */
  deadLink(): AppError {
    return new AppError('forbidden', `this link is used, too old or wrong; make another with: ${this.linkCommand}`)
  }

  /**
   * Uses a link up: makes the first owner, or sets the password of its operator. Gives a session's secret. A right code
   * is never held off, however often the same address failed before: it is the way out for who is locked out.
   */
  async usePasswordLink(code: string, name: string, password: string, visitor: Visitor): Promise<string> {
    const { address } = visitor
    const { store, limits, now } = this.deps
    const peeked = this.links.peek(code)
    if (!peeked || peeked.kind === 'sign-in') {
      this.#mayTry(address)
      this.#failed(address, 'operator.link-failed')
      throw this.deadLink()
    }
    if (password.length < limits.passwordLengthMin)
      throw invalid(`the password needs at least ${limits.passwordLengthMin} characters`)
    if (password.length > limits.passwordLengthMax)
      throw invalid(`the password is longer than ${limits.passwordLengthMax} characters`)
    const ownerName = peeked.kind === 'setup' ? line(name, 'the name') : ''
    const passwordHash = await this.#hash(() =>
      Bun.password.hash(password, { algorithm: 'argon2id', memoryCost: 65_536, timeCost: 2 }),
    )
    // Asked again, and taken only once the password is written: neither a typo nor a full disk uses the link up. From
    // here on nothing waits, so of two at once one gets it.
    const purpose = this.links.peek(code)
    if (!purpose || purpose.kind === 'sign-in') throw this.deadLink()
    if (purpose.kind === 'setup') {
      if (this.hasOwner) throw conflict('an owner exists already')
      const owner: Operator = {
        id: newId('op'),
        name: ownerName,
        role: 'owner',
        createdAt: now(),
        lastSignInAt: null,
        passwordHash,
      }
      store.insert(owner, { name: `operator:${ownerName}`, role: 'owner' })
      return this.#entered(code, owner, visitor)
    }
    const operator = store.all().find((candidate) => candidate.id === purpose.operatorId)
    if (!operator) throw notFound('that operator was removed')
    store.putPassword(operator, passwordHash, { name: `operator:${operator.name}`, role: operator.role })
    this.sessions.closeAllOf(operator.id)
    return this.#entered(code, operator, visitor)
  }

  #entered(code: string, operator: Operator, visitor: Visitor): string {
    this.links.take(code)
    this.#throttle.succeed(visitor.address)
    return this.#open(operator, visitor)
  }

  /** Uses a sign-in link up. Gives a session's secret, or null when the link is for something else. */
  useSignInLink(code: string, visitor: Visitor): string | null {
    const purpose = this.links.peek(code)
    if (purpose?.kind !== 'sign-in') return null
    this.links.take(code)
    const operator = this.deps.store.all().find((candidate) => candidate.id === purpose.operatorId)
    return operator ? this.#open(operator, visitor) : null
  }

  /** Gives a session's secret. Throws `too_many` for a source that failed too often, `unauthenticated`. */
  async signIn(name: string, password: string, visitor: Visitor): Promise<string> {
    const { address } = visitor
    this.#mayTry(address)
    const operator = this.deps.store.named(name.trim())
    const expected = operator?.passwordHash ?? DECOY
    const right = await this.#hash(() =>
      Bun.password.verify(password.slice(0, this.deps.limits.passwordLengthMax), expected),
    )
    if (!operator?.passwordHash || !right) {
      this.#failed(address, 'operator.sign-in-failed')
      throw new AppError('unauthenticated', 'the name or the password is wrong')
    }
    this.#throttle.succeed(address)
    return this.#open(operator, visitor)
  }

  #open(operator: Operator, { address, client }: Visitor): string {
    const id = newId('ses')
    let restricted = false
    try {
      this.deps.store.putSignIn(operator, this.deps.now(), { id, address })
    } catch (error) {
      // With a full disk an owner must still get in, to revoke, kill and close.
      if (!(error instanceof AppError) || error.kind !== 'storage' || operator.role !== 'owner') throw error
      restricted = true
    }
    return this.sessions.open({
      id,
      operatorId: operator.id,
      restricted,
      address,
      client: client && keepable(client, this.deps.limits.clientNameLengthMax),
    })
  }

  #mayTry(address: string): void {
    const waitMs = this.#throttle.waitMs(address)
    if (waitMs === 0) return
    const minutes = Math.ceil(waitMs / 60_000)
    const wait = `wait ${minutes} minute${minutes === 1 ? '' : 's'}`
    throw new AppError('too_many', `too many tries; ${wait}, or use a link made with: ${this.linkCommand}`)
  }

  #failed(address: string, action: string): void {
    this.#throttle.fail(address)
    this.deps.fold.add(action, address, null, this.deps.now())
  }

  async #hash<T>(work: () => Promise<T>): Promise<T> {
    if (this.#hashing >= this.deps.limits.passwordHashesMax)
      throw new AppError('too_many', 'too many sign-ins at once; try again')
    this.#hashing += 1
    try {
      return await work()
    } finally {
      this.#hashing -= 1
    }
  }

  /** The actor of a session's cookie, or null. `renew`: a person caused the request, and no page by itself. */
  actorOfSession(secret: string, address: string, renew: boolean): (Actor & { operator: Operator }) | null {
    const session = this.sessions.find(secret)
    if (!session) return null
    const operator = this.deps.store.all().find((candidate) => candidate.id === session.operatorId)
    if (!operator) return null
    session.lastFrom = address
    if (renew) this.sessions.touch(session)
    return { name: `operator:${operator.name}`, role: operator.role, restricted: session.restricted, operator }
  }

  /** Live sessions that this actor may see and end: an owner all, others their own. The oldest first. */
  sessionsFor(actor: Actor): SessionOf[] {
    const operators = new Map(this.deps.store.all().map((operator) => [operator.id, operator]))
    return this.sessions.list().flatMap((session) => {
      const operator = operators.get(session.operatorId)
      if (!operator) return []
      const mayEnd = actor.role === 'owner' || actor.name === `operator:${operator.name}`
      return mayEnd ? [{ session, operator }] : []
    })
  }

  /** Ends a session at once, whether or not that can be written. Throws `not_found`. */
  endSession(id: string, actor: Actor): void {
    const found = this.sessionsFor(actor).find(({ session }) => session.id === id)
    if (!found) throw notFound('no session has that id')
    this.#end(found, 'operator.session-end', actor)
  }

  /** Ends the session that a browser showed. */
  signOut(secret: string): void {
    const session = this.sessions.find(secret)
    const operator = session && this.deps.store.all().find(({ id }) => id === session.operatorId)
    if (!operator) return
    const actor = { name: `operator:${operator.name}`, role: operator.role }
    this.#end({ session, operator }, 'operator.sign-out', actor)
  }

  #end({ session, operator }: SessionOf, action: SessionEnd, actor: Actor): void {
    this.sessions.close(session.id)
    try {
      this.deps.store.putSessionEnd(operator, session, action, actor)
    } catch (error) {
      this.deps.onUnaudited(error, session.id)
    }
  }

  /** The owner of a node that needs no set-up. */
  ensureOperator(name: string): void {
    if (this.deps.store.named(name)) return
    const operator: Operator = {
      id: newId('op'),
      name,
      role: 'owner',
      createdAt: this.deps.now(),
      lastSignInAt: null,
      passwordHash: null,
    }
    this.deps.store.insert(operator, SYSTEM)
  }
}
