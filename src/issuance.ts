import { conflict, invalid, notFound } from './error.ts'
import type { Seen } from './fact.ts'
import { newId } from './id.ts'
import type { KeyRing } from './key.ts'
import { limits } from './limits.ts'
import type { Actor } from './operator.ts'
import type { Registry } from './registry.ts'
import { hasToolRules, type Policy, policyOf, type PolicyRequest } from './policy.ts'
import { generateSecret } from './secret.ts'
import { line, lineOrNull } from './text.ts'
import { type Clock, formatTime } from './time.ts'
import { earlierDeath, type NewSecret, type NewToken, statusOf, type Token } from './token.ts'
import type { TokenIndex } from './token-index.ts'
import type { UpstreamIndex } from './upstream.ts'

export interface IssueRequest {
  name: string
  /** Names of servers. */
  servers: string[]
  subject?: string | null
  group?: string | null
  /** Milliseconds since the epoch, or null for never. */
  expiresAt: number | null
  policy?: PolicyRequest | null
}

/** By digest, as `Secret.diesAt`. */
export type Deaths = Readonly<Record<string, number>>

export interface IssuanceStore {
  /** The token, its first secret, the audit row and the fact: one transaction. */
  insertToken(token: NewToken, actor: Actor): void
  /** Which revocations this node knows. */
  readonly seen: Seen | null
  /** The new secret, and when which digests die (as `Secret.diesAt`): one transaction with audit row and fact. */
  insertSecret(token: Token, secret: NewSecret, deaths: Deaths, oldDieAt: number, actor: Actor): void
  /** The policy, the audit row and the fact: one transaction. */
  updatePolicy(token: Token, policy: Policy | null, actor: Actor): void
}

export interface IssuanceDeps {
  tokens: TokenIndex
  servers: UpstreamIndex
  registry: Registry
  keys: KeyRing
  store: IssuanceStore
  now: Clock
}

/**
 * As `Secret.diesAt`: that it died then, whatever a clock says later. A secret that leaked and was rotated out must not
 * pass again when the clock is set back by a second.
 */
const forGood = (at: number): number => -at

/** Making tokens, and new secrets for them. */
export class Issuance {
  constructor(readonly deps: IssuanceDeps) {}

  /** Throws `invalid`, `not_found` for a server, `conflict` for a name that lives. */
  issue(request: IssueRequest, actor: Actor): { token: Token; secret: string } {
    const { tokens, servers, store, now } = this.deps
    const at = now()
    const name = line(request.name, 'the name')
    if (request.servers.length === 0) throw invalid('a token needs at least one server')
    if (request.servers.length > limits.serversPerTokenMax) {
      throw invalid(`a token reaches ${limits.serversPerTokenMax} servers at the most`)
    }
    const ids = request.servers.map((serverName, index) => {
      const server = servers.byName.get(serverName)
      if (!server) throw notFound(`servers: no server has the name given as number ${index + 1}`)
      return server.id
    })
    if (request.expiresAt !== null && request.expiresAt > at + limits.expiryMsMax) {
      throw invalid(`expires: ${formatTime(request.expiresAt)} is more than ten years away`)
    }
    // An id as a name would make two meanings of one word in `revoke`.
    if (tokens.has(name)) throw conflict('that name is the id of a token')
    if (tokens.named(name, at).some((token) => statusOf(token, at) === 'active')) {
      throw conflict('a live token has that name; names of live tokens are unique')
    }
    const { secret, text } = this.#newSecret(at)
    const made: NewToken = {
      id: newId('tok'),
      name,
      subject: lineOrNull(request.subject, 'the subject'),
      group: lineOrNull(request.group, 'the group'),
      servers: new Set(ids),
      createdAt: at,
      createdBy: actor.name,
      expiresAt: request.expiresAt,
      revokedAt: null,
      revocationId: null,
      policy: this.#policyFor(ids, request.policy),
      seen: store.seen,
      secrets: [secret],
    }
    store.insertToken(made, actor)
    return { token: tokens.add(made), secret: text }
  }

  /** A new secret for the same token; the old ones die at once, or after `graceMs`. */
  rotate(token: Token, graceMs: number, actor: Actor): string {
    const { tokens, registry, store, now } = this.deps
    const at = now()
    if (statusOf(token, at) !== 'active') throw conflict(`the token is ${statusOf(token, at)}: make a new one`)
    if (graceMs > limits.rotationGraceMsMax) throw invalid('the grace is longer than seven days')
    const oldDieAt = graceMs === 0 ? forGood(at) : at + graceMs
    const { secret, text } = this.#newSecret(at)
    // At most two secrets live: what was in grace already dies no later than the one replaced now.
    const deaths: Record<string, number> = {}
    for (const { digest, diesAt } of token.secrets) {
      if (diesAt === null) deaths[digest] = oldDieAt
      else if (diesAt > 0) deaths[digest] = forGood(Math.min(diesAt, at))
    }
    store.insertSecret(token, secret, deaths, oldDieAt, actor)
    replaceSecrets(token, secret, deaths, { tokens, registry, at })
    return text
  }

  /** Another policy, in force at once: live connections began under the old one, and are cut. */
  setPolicy(token: Token, request: PolicyRequest | null, actor: Actor): void {
    const { registry, store, now } = this.deps
    if (statusOf(token, now()) !== 'active') throw conflict(`the token is ${statusOf(token, now())}: make a new one`)
    const policy = this.#policyFor([...token.servers], request)
    store.updatePolicy(token, policy, actor)
    token.policy = policy
    registry.cut(registry.ofToken(token.id), 'connection_killed')
  }

  /** Rules about tools are worth nothing at a server whose traffic is not read. */
  #policyFor(serverIds: readonly string[], request: PolicyRequest | null | undefined): Policy | null {
    const policy = policyOf(request)
    if (policy === null || !hasToolRules(policy)) return policy
    const plain = serverIds.map((id) => this.deps.servers.byId.get(id)).find((server) => server?.kind === 'http')
    if (plain) throw invalid(`rules about tools can't be kept at ${plain.name}, which is of kind http: leave it out`)
    return policy
  }

  #newSecret(at: number): { secret: NewSecret; text: string } {
    const text = generateSecret('pcl_')
    return { secret: { ...this.deps.keys.digest(text), createdAt: at, diesAt: null }, text }
  }
}

/** In memory, after the database has it: the deaths, the new secret, and the end of what runs under the dead. */
export const replaceSecrets = (
  token: Token,
  made: NewSecret,
  deaths: Deaths,
  { tokens, registry, at }: Pick<IssuanceDeps, 'tokens' | 'registry'> & { at: number },
): number => {
  for (const secret of token.secrets) secret.diesAt = earlierDeath(secret.diesAt, deaths[secret.digest] ?? null)
  if (!token.secrets.some(({ digest }) => digest === made.digest)) tokens.addSecret(token.id, made)
  const ended = [...registry.ofToken(token.id)].filter(({ secret: { diesAt } }) => diesAt !== null && diesAt <= at)
  const { cut } = registry.cut(ended, 'token_revoked')
  registry.rearm(token)
  return cut
}
