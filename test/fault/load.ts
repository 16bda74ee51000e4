import type { RevocationJson, ServerJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import type { Answer, TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import type { Random } from '../support/random.ts'
import { type RawClient, open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { type Asked, type HeldToken, knock, type Ledger } from './ledger.ts'

/** What clients and operators do, each as often as its weight says. */
const DEEDS = {
  ask: 30,
  stream: 8,
  issue: 14,
  rotate: 6,
  revoke: 8,
  gate: 3,
  kill: 2,
  key: 0.7,
  operator: 1,
  apikey: 1,
  read: 3,
} as const
export type Deed = keyof typeof DEEDS

const SELECTORS = { id: 6, name: 3, subject: 3, group: 2, server: 1, issuedBefore: 1, all: 0.1 } as const
const SUBJECTS = 12
const GROUPS = 6
const STREAMS_MAX = 12
/** Servers of the folder: all tokens reach the first; the last is closed and opened again and again. */
export const SERVERS = ['all', 'a', 'b', 'c', 'door'] as const
/** A worker rests up to so long between two deeds. */
const REST_MS = 12
const GRACES_S = [0, 0, 1, 3_600]

let made = 0
const nextName = (what: string): string => `${what}-${(made += 1)}`

/** Everything that is asked of a node until it is killed; the ledger keeps what was acknowledged. */
export class Load {
  /** Set just before the node is killed: from then on an unanswered request is no failure. */
  killed = false
  readonly streams: RawClient[] = []
  readonly counts: Record<string, number> = {}
  readonly #running = new Set<Promise<void>>()
  #working = false
  /** Kills of a server that were asked for, and answered: they end requests of tokens that live. */
  #kills = 0

  constructor(
    readonly node: TestNode,
    readonly ledger: Ledger,
    readonly random: Random,
  ) {}

  /** So many workers, until `over`. */
  start(workers: number): void {
    this.#working = true
    const work = async () => {
      while (this.#working) {
        await this.do(this.random.weighted(DEEDS))
        await Bun.sleep(this.random.next() * REST_MS)
      }
    }
    for (let worker = 0; worker < workers; worker += 1) this.#track(work())
  }

  do(deed: Deed): Promise<void> {
    return this.#track(this[deed]())
  }

  /** When all that was asked is answered, or never will be. */
  async over(): Promise<void> {
    this.#working = false
    await Promise.all(this.#running)
  }

  /** The clients' ends of streams must all have ended by now, or soon. */
  async streamsEnd(): Promise<void> {
    await eventually(() => this.streams.every(({ ended }) => ended !== 'open'), {
      what: 'every stream of a dead node ends',
    }).catch(() => this.ledger.fail('a stream outlived its node'))
    for (const stream of this.streams) stream[Symbol.dispose]()
  }

  #track(deed: Promise<void>): Promise<void> {
    const running = deed.finally(() => this.#running.delete(running))
    this.#running.add(running)
    return running
  }

  /** The answer, or null when the node was killed before it came. */
  async #call<T>(asked: Asked | null, method: string, path: string, body?: unknown): Promise<Answer<T> | null> {
    if (asked) this.ledger.asked.add(asked)
    try {
      const answer = await this.node.api<T>(method, path, body)
      if (asked) this.ledger.asked.delete(asked)
      if (answer.status >= 500 && answer.status !== 507) {
        this.ledger.fail(`${method} ${path} was answered ${answer.status}: ${JSON.stringify(answer.json)}`)
      }
      this.counts[`${method} ${path.split('/')[1]}`] = (this.counts[`${method} ${path.split('/')[1]}`] ?? 0) + 1
      return answer
    } catch (error) {
      if (!this.killed) this.ledger.fail(`${method} ${path}: ${String(error)}`)
      return null
    }
  }

  async issue(servers?: string[]): Promise<void> {
    const { random, ledger } = this
    const name = nextName('token')
    const body = {
      name,
      servers: servers ?? ['all', ...(random.chance(0.3) ? [random.any(['a', 'b', 'c'])] : [])],
      subject: random.chance(0.7) ? `person-${random.below(SUBJECTS)}@example.com` : null,
      group: random.chance(0.5) ? `group-${random.below(GROUPS)}` : null,
    }
    const answer = await this.#call<TokenIssuedJson>({ kind: 'issue', name }, 'POST', '/tokens', body)
    if (answer?.status === 201) ledger.issued(answer.json, answer.json.token)
  }

  async rotate(): Promise<void> {
    const { random, ledger } = this
    const token = random.any(ledger.live)
    if (!token || token.rotating) return
    const graceSeconds = random.any(GRACES_S) ?? 0
    token.rotating = true
    ledger.touch(token)
    const asked = { kind: 'rotate', token, graceMs: graceSeconds * 1_000 } as const
    const answer = await this.#call<TokenIssuedJson>(asked, 'POST', `/tokens/${token.id}/rotations`, { graceSeconds })
    if (!answer) return
    token.rotating = false
    if (answer.status !== 201) return
    token.rotations += 1
    ledger.rotated(token, answer.json.token, Date.parse(answer.json.oldSecretDiesAt ?? '') || 0)
  }

  /** Returns what is asked for, and which of the tokens that are held match it. */
  #selector(): { body: Record<string, unknown>; matched: HeldToken[] } | null {
    const { random, ledger } = this
    const { live } = ledger
    const token = random.any(live)
    if (!token) return null
    const where = (body: Record<string, unknown>, matches: (token: HeldToken) => boolean) => ({
      body,
      matched: live.filter(matches),
    })
    const { id, name, subject, group } = token
    const kind = random.weighted(SELECTORS)
    if (kind === 'id') {
      const more = random.any(live) ?? token
      return where({ tokens: [...new Set([id, more.id])] }, (one) => one === token || one === more)
    }
    if (kind === 'subject' && subject)
      return where({ subject: subject.toUpperCase() }, (one) => one.subject === subject)
    if (kind === 'group' && group) return where({ group }, (one) => one.group === group)
    if (kind === 'all') return where({ all: true }, () => true)
    if (kind === 'server') {
      const server = random.any(['a', 'b', 'c']) ?? 'a'
      return where({ server }, ({ servers }) => servers.includes(server))
    }
    if (kind === 'issuedBefore' && group) {
      const before = token.createdAt + 1
      const issuedBefore = new Date(before).toISOString()
      return where({ group, issuedBefore }, (one) => one.group === group && one.createdAt < before)
    }
    return where({ tokens: [name] }, (one) => one === token)
  }

  async revoke(): Promise<void> {
    const chosen = this.#selector()
    if (!chosen) return
    const { body, matched } = chosen
    const note = nextName('revocation')
    for (const token of matched) this.ledger.touch(token)
    const request = { ...body, reason: 'compromised', note }
    const answer = await this.#call<RevocationJson>({ kind: 'revoke', note }, 'POST', '/revocations', request)
    if (!answer || answer.status === 404) return
    if (answer.status >= 300 && answer.status !== 507) this.ledger.fail(`revoke was answered ${answer.status}`)
    this.ledger.revoked(answer.json)
    for (const token of matched) this.ledger.mustBeDead.add(token)
  }

  async gate(): Promise<void> {
    const { gates, asked } = this.ledger
    // One at a time, so that it is known which came last.
    if ([...asked].some(({ kind }) => kind === 'gate')) return
    const state: ServerJson['state'] = gates.get('door') === 'closed' ? 'open' : 'closed'
    const put = { kind: 'gate', server: 'door', state } as const
    const answer = await this.#call<{ state?: string }>(put, 'PUT', '/servers/door/gate', { state })
    // A closing holds without the database; an opening is refused then, by a problem that has no state.
    if (answer?.json.state === state) gates.set('door', state)
  }

  async kill(): Promise<void> {
    this.#kills += 1
    await this.#call(null, 'DELETE', `/servers/${this.random.any(['a', 'b', 'all'])}/connections`)
    this.#kills += 1
  }

  async key(): Promise<void> {
    const keys = await this.#call<{ items: { id: string; current: boolean }[] }>(null, 'GET', '/keys')
    const old = keys?.json.items.find(({ current }) => !current)
    if (!old) return void (await this.#call({ kind: 'key' }, 'POST', '/keys'))
    const path = `/keys/${old.id}?revoke=true`
    this.ledger.keyGone = true
    const answer = await this.#call<{ revocation: RevocationJson | null }>({ kind: 'key' }, 'DELETE', path)
    if (answer?.json.revocation) this.ledger.revoked(answer.json.revocation)
  }

  async operator(): Promise<void> {
    const name = nextName('operator')
    if ((await this.#call(null, 'POST', '/operators', { name, role: 'auditor' }))?.status === 201) {
      await this.#call(null, 'DELETE', `/operators/${name}`)
    }
  }

  async apikey(): Promise<void> {
    const name = nextName('key')
    const made = await this.#call<{ id: string }>(null, 'POST', '/apikeys', { name, role: 'auditor' })
    if (made?.status === 201) await this.#call(null, 'DELETE', `/apikeys/${made.json.id}`)
  }

  async read(): Promise<void> {
    const path = this.random.any(['/revocations?limit=20', '/connections', '/audit?order=desc&limit=50', '/tokens'])
    await this.#call(null, 'GET', path ?? '/node')
  }

  /** A request with a secret; that of a dead token must not pass, that of a live one must. */
  async ask(): Promise<void> {
    const { random, ledger, node } = this
    const tokens = random.chance(0.7) ? ledger.live : [...ledger.tokens.values()]
    const token = random.any(tokens)
    const secret = random.any(token?.secrets ?? [])
    if (!token || !secret) return
    const before = ledger.stateOf(token, secret)
    const [unsettled, kills] = [ledger.unsettled, this.#kills]
    const lives = () =>
      before === 'alive' &&
      token.servers[0] !== 'door' &&
      ledger.stateOf(token, secret) === 'alive' &&
      !unsettled &&
      !ledger.unsettled &&
      kills === this.#kills &&
      kills % 2 === 0
    try {
      const { status, type } = await knock(node, token.servers[0] ?? '', token, secret.text)
      if (before === 'dead' && status !== 401) ledger.fail(`${token.id} is dead, and was answered ${status} ${type}`)
      if (lives() && status !== 200) ledger.fail(`${token.id} lives, and was answered ${status} ${type}`)
    } catch (error) {
      if (!this.killed && lives()) ledger.fail(`a request at the gate: ${String(error)}`)
    }
  }

  async stream(): Promise<void> {
    if (this.streams.filter(({ ended }) => ended === 'open').length >= STREAMS_MAX) return
    const token = this.random.any(this.ledger.live)
    const secret = token?.secrets.at(-1)
    if (!token || !secret || token.servers[0] !== 'all') return
    token.sent += 1
    try {
      this.streams.push(await open(this.node.gate, { target: '/s/all/sse', headers: bearer(secret.text) }))
    } catch (error) {
      if (!this.killed) this.ledger.fail(`a stream could not be opened: ${String(error)}`)
    }
  }
}
