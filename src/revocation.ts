import type { Peers } from './cluster-view.ts'
import { type Emergency, type Kept, toldOf } from './emergency.ts'
import { invalid, notFound } from './error.ts'
import { newId } from './id.ts'
import { limits } from './limits.ts'
import type { Actor } from './operator.ts'
import type { Receipts } from './receipt.ts'
import type { CutResult, Registry } from './registry.ts'
import { type Phase, RevocationMeasures } from './revocation-measures.ts'
import {
  NOT_MEASURED,
  type Reason,
  type Receipt,
  type RevocationRecord,
  type Selector,
  serversOf,
  type Timings,
} from './revocation-record.ts'
import { fold, line, lineOrNull } from './text.ts'
import type { Clock } from './time.ts'
import type { Token } from './token.ts'
import type { TokenIndex, TokenRow } from './token-index.ts'
import type { UpstreamIndex } from './upstream.ts'

const isEmpty = ({ tokens, subject, group, server, issuedBefore, all }: Selector): boolean =>
  !all && !tokens && subject === undefined && group === undefined && !server && issuedBefore === undefined

/** Whether a token is one of those that the selector names. An empty selector names none. */
export const matches = (selector: Selector, token: Omit<Token, 'secrets' | 'seen'>): boolean => {
  const { tokens, subject, group, server, issuedBefore } = selector
  if (isEmpty(selector) || (tokens && !tokens.includes(token.id))) return false
  if (subject !== undefined && (token.subject === null || fold(token.subject) !== subject)) return false
  if (group !== undefined && (token.group === null || fold(token.group) !== group)) return false
  if (server !== undefined && !serversOf(selector)?.some((id) => token.servers.has(id))) return false
  return issuedBefore === undefined || token.createdAt < issuedBefore
}

/** All tokens that are not revoked and that the selector names: what `matches` says of each, a million in 10 ms. */
export const matching = (selector: Selector, index: TokenIndex): TokenRow[] => {
  if (isEmpty(selector)) return []
  if (!selector.tokens) return index.notRevoked(selector)
  const named = selector.tokens.flatMap((id) => index.get(id) ?? [])
  return named.filter((token) => token.revokedAt === null && matches({ ...selector, tokens: [token.id] }, token))
}

/** What a revocation is asked with; tokens by id or name, the server by name. */
export interface RevocationRequest {
  tokens?: string[]
  subject?: string | null
  group?: string | null
  server?: string | null
  issuedBefore?: number | null
  all?: boolean
  reason: Reason
  note?: string
  dryRun?: boolean
}

export interface RevocationDeps {
  tokens: TokenIndex
  servers: UpstreamIndex
  registry: Registry
  emergency: Emergency
  receipts: Receipts
  peers: Peers
  now: Clock
}

/** What is known when a revocation is answered. */
const IN_THE_RUN: readonly Phase[] = ['commit', 'deny', 'first_cut', 'last_cut']

/** Revoking: select, commit, deny, tell the peers, cut, in one run of the event loop. */
export class Revocations {
  readonly measures = new RevocationMeasures()

  constructor(readonly deps: RevocationDeps) {}

  /**
   * Revokes for ever what the request names. `arrivedAt` is `performance.now()` when the request came.
   * Throws `invalid` for an empty or malformed selector, `not_found` for a name that never was.
   */
  revoke(request: RevocationRequest, actor: Actor, arrivedAt: number): Promise<Receipt> {
    const { registry, emergency, receipts, peers, now } = this.deps
    const at = now()
    const selector = this.#resolve(request, at)
    const dead = matching(selector, this.deps.tokens)
    const record: RevocationRecord = {
      id: newId('rev'),
      at,
      actor: actor.name,
      reason: request.reason,
      note: lineOrNull(request.note, 'the note', limits.textLengthMax) ?? '',
      selector,
      tokens: dead.map(({ id, name, subject }) => ({ id, name, subject })),
    }
    // Another node may have issued what this one has not heard of: whoever is not named by id is told of all the same.
    const mayReachOthers = peers.clustered && selector.tokens === undefined
    if (request.dryRun || (dead.length === 0 && !mayReachOthers)) {
      const cut = registry.ofTokens(dead).length
      const timings = { ...NOT_MEASURED }
      return Promise.resolve({ ...record, dryRun: request.dryRun ?? false, cut, timings, durable: true })
    }

    const issuedUntil = dead.reduce((latest, { createdAt }) => Math.max(latest, createdAt), at)
    let kept: Kept = 'database'
    const commit = () => {
      kept = emergency.commit({ op: 'revocation', record, issuedUntil })
      return kept === 'database'
    }
    const tell = () =>
      kept === 'database' ? peers.push({ revocation: record.id, arrivedAt }) : peers.relay(record, issuedUntil)
    const { durable, result, timings, answered, released } = carryOut(dead, record, commit, tell, registry, arrivedAt)
    const endedAt = now()
    this.measures.revoked(dead.length, durable)
    void released.then(() => this.measures.took('upstream_cancelled', timings))
    return answered.then(() => {
      for (const phase of IN_THE_RUN) this.measures.took(phase, timings)
      // A second commit, when everything is silent already: whoever asks for the receipt next finds it whole.
      void receipts.keep({ id: record.id, timings, result, endedAt })
      return { ...record, dryRun: false, cut: result.cut, timings: { ...timings }, ...toldOf(kept) }
    })
  }

  #resolve(request: RevocationRequest, now: number): Selector {
    const { tokens, servers } = this.deps
    const selector: Selector = {}
    if (request.tokens) {
      if (request.tokens.length === 0) throw invalid('tokens: the list is empty; leave it out, or name some')
      if (request.tokens.length > limits.revocationTokensMax) {
        throw invalid(`more than ${limits.revocationTokensMax} tokens in one request; use a selector`)
      }
      const ids = request.tokens.flatMap((idOrName) => {
        const found = tokens.resolve(idOrName, now)
        if (found.length === 0) throw notFound('no token has that id or name')
        return found.map((token) => token.id)
      })
      selector.tokens = [...new Set(ids)]
    }
    // An empty text is no selector, and to pass over it would kill more than was meant.
    const given = (text: string | null | undefined, what: string) =>
      text === null || text === undefined ? null : line(text, what)
    const subject = given(request.subject, 'subject')
    const group = given(request.group, 'group')
    const serverName = given(request.server, 'server')
    if (subject !== null) selector.subject = this.#known('subject', subject)
    if (group !== null) selector.group = this.#known('group', group)
    if (serverName !== null) {
      const named = servers.named(serverName).map(({ id }) => id)
      const [only] = named.length > 0 ? named : servers.byId.has(serverName) ? [serverName] : []
      if (only === undefined) throw notFound('no server has that name')
      selector.server = named.length > 1 ? named : only
    }
    if (request.issuedBefore !== null && request.issuedBefore !== undefined) {
      if (request.issuedBefore > now + 86_400_000) {
        throw invalid('issuedBefore: that is in the future')
      }
      selector.issuedBefore = request.issuedBefore
    }
    if (request.all) selector.all = true
    if (Object.keys(selector).length === 0) {
      throw invalid('name what to revoke: tokens, subject, group, server, issuedBefore or all')
    }
    return selector
  }

  /** The folded text, when some token ever had it: a misspelt subject must not look like a success. */
  #known(field: 'subject' | 'group', text: string): string {
    const folded = fold(text)
    if (!this.deps.tokens.isKnown(field, folded)) throw notFound(`no token has that ${field}`)
    return folded
  }
}

/** What has been done when it returns, and what is known of it later. */
export interface CarriedOut {
  durable: boolean
  result: CutResult
  /** From `arrivedAt`; filled when `answered` and `released` resolve. */
  timings: Timings
  /** The last write has gone to the kernel. */
  answered: Promise<void>
  /** The last request to a server was cancelled. */
  released: Promise<void>
}

/**
 * Commit, deny, tell the peers, cut: the one sequence of a revocation, and of the node's test of itself, which commits
 * something else and tells nobody. `commit` tells whether the database has it, and does not throw: the rest happens
 * either way.
 */
export const carryOut = (
  dead: readonly Token[],
  revocation: Pick<RevocationRecord, 'id' | 'at'>,
  commit: () => boolean,
  tell: () => void,
  registry: Pick<Registry, 'cut' | 'ofTokens'>,
  arrivedAt: number,
): CarriedOut => {
  const timings = { ...NOT_MEASURED }
  // From here to the cut nothing may wait: no request can slip in between.
  const durable = commit()
  const committedAt = performance.now()
  deny(dead, revocation)
  const deniedAt = performance.now()
  tell()
  const result = registry.cut(registry.ofTokens(dead), 'token_revoked')
  const answered = result.lastCutAt.then((lastCutAt) => {
    timings.commitMs = since(arrivedAt, committedAt)
    timings.deniedMs = since(arrivedAt, deniedAt)
    timings.firstCutMs = since(arrivedAt, result.firstCutAt)
    timings.lastCutMs = since(arrivedAt, lastCutAt)
  })
  const released = result.releasedAt.then((releasedAt) => {
    timings.upstreamCancelledMs = since(arrivedAt, releasedAt)
  })
  return { durable, result, timings, answered, released }
}

/** Denies in memory; revoked is absorbing, so an earlier revocation stays. */
export const deny = (tokens: Iterable<Token>, { id, at }: Pick<RevocationRecord, 'id' | 'at'>): void => {
  for (const token of tokens) {
    token.revokedAt ??= at
    token.revocationId ??= id
  }
}

/**
 * Denies what a record out of a journal or a merge names: its list, and what its selector matched when it
 * was made. Returns the record with all that it killed.
 */
export const denyRecord = (record: RevocationRecord, index: TokenIndex, issuedUntil = record.at): RevocationRecord => {
  const named = record.tokens.flatMap(({ id }) => index.get(id) ?? [])
  deny(named, record)
  const more = matching(record.selector, index).filter((token) => token.createdAt <= issuedUntil)
  deny(more, record)
  return { ...record, tokens: [...record.tokens, ...more.map(({ id, name, subject }) => ({ id, name, subject }))] }
}

const since = (from: number, to: number | null): number | null =>
  to === null ? null : Math.round(Math.max(0, to - from) * 1000) / 1000
