import type { AuditRowJson, RevocationJson, ServerJson, TokenJson } from '../../src/server/api/schemas.ts'
import type { TestNode } from '../support/node.ts'
import type { Random } from '../support/random.ts'

/** A secret as whoever holds it knows it. */
export interface HeldSecret {
  text: string
  /** By the wall clock; null: as long as its token lives; 0: dead. */
  diesAt: number | null
}

/** A token as whoever asked for it knows it. */
export interface HeldToken {
  id: string
  name: string
  subject: string | null
  group: string | null
  servers: string[]
  createdAt: number
  /** The newest last; the newest is missing when the answer that held it was lost. */
  secrets: HeldSecret[]
  /** The revocation that killed it: acknowledged, or found after a restart. */
  revocation: string | null
  /** A rotation is asked for, one at a time; and how many were answered since the last restart. */
  rotating: boolean
  rotations: number
  /** Requests that a restart counted; since then, answered and sent. */
  counted: number
  answered: number
  sent: number
}

/** What was asked of the node and not answered: it may have been done, or not, but not by half. */
export type Asked =
  | { kind: 'issue'; name: string }
  | { kind: 'rotate'; token: HeldToken; graceMs: number }
  | { kind: 'revoke'; note: string }
  | { kind: 'gate'; server: string; state: ServerJson['state'] }
  | { kind: 'key' }

interface Acknowledged {
  tokens: string[]
  durable: boolean
}

/** A deadline is not asked about so close to it: the node and the test read the clock at different moments. */
const NEAR_MS = 500
/** Old tokens and receipts that are asked about after each restart; all are when a folder is done with. */
const SAMPLE = 40

/** All there is of a list, page by page. */
const allOf = async <T>(node: TestNode, path: string): Promise<T[]> => {
  const found: T[] = []
  for (let after: string | null = ''; after !== null;) {
    const mark: string = after === '' ? '' : `&after=${after}`
    const { json } = await node.api<{ items: T[]; next: string | null }>('GET', `${path}?limit=1000${mark}`)
    found.push(...json.items)
    after = json.next
  }
  return found
}

/** What one node acknowledged, and whether it still holds: the test's own memory beside a node that is killed. */
export class Ledger {
  readonly tokens = new Map<string, HeldToken>()
  readonly revocations = new Map<string, Acknowledged>()
  readonly gates = new Map<string, ServerJson['state']>()
  readonly asked = new Set<Asked>()
  /** How far the node's clock is ahead of ours. */
  aheadMs = 0
  /** A key was to be removed: secrets under it are unknown from then on. */
  keyGone = false
  /** Tokens that an acknowledged revocation matched. */
  readonly mustBeDead = new Set<HeldToken>()
  readonly failures: string[] = []
  /** Rows of the audit log that were read: the last one's number and hash, and what they tell. */
  #head = { sequence: 0, hash: '' }
  readonly #revokeRows = new Map<string, number>()
  readonly #issueRows = new Set<string>()
  #touched = new Set<HeldToken>()

  fail(what: string): void {
    this.failures.push(what)
  }

  get live(): HeldToken[] {
    return [...this.tokens.values()].filter(({ revocation }) => revocation === null)
  }

  /** Whether something is asked that may kill or change any token. */
  get unsettled(): boolean {
    return [...this.asked].some(({ kind }) => kind === 'revoke' || kind === 'key' || kind === 'rotate')
  }

  /** `dead` and `alive` are certain; near a deadline nothing is. */
  stateOf({ revocation }: HeldToken, { diesAt }: HeldSecret): 'dead' | 'alive' | 'unknown' {
    if (revocation !== null || diesAt === 0) return 'dead'
    if (diesAt === null) return 'alive'
    const leftMs = diesAt - (Date.now() + this.aheadMs)
    if (Math.abs(leftMs) < NEAR_MS) return 'unknown'
    return leftMs < 0 ? 'dead' : 'alive'
  }

  touch(token: HeldToken): void {
    this.#touched.add(token)
  }

  issued(json: TokenJson, secret: string | null): HeldToken {
    const { id, name, subject, group, servers } = json
    const token: HeldToken = {
      ...{ id, name, subject, group, servers },
      createdAt: Date.parse(json.createdAt),
      secrets: secret === null ? [] : [{ text: secret, diesAt: null }],
      revocation: null,
      rotating: false,
      rotations: 0,
      ...{ counted: 0, answered: 0, sent: 0 },
    }
    this.tokens.set(id, token)
    this.touch(token)
    // Its revocation may have been answered first.
    for (const [revocation, { tokens }] of this.revocations) if (tokens.includes(id)) token.revocation = revocation
    return token
  }

  rotated(token: HeldToken, secret: string | null, oldDieAt: number): void {
    for (const old of token.secrets) old.diesAt = old.diesAt === null ? oldDieAt : 0
    if (secret !== null) token.secrets.push({ text: secret, diesAt: null })
    this.touch(token)
  }

  revoked({ id, tokens, durable }: RevocationJson): void {
    if (tokens.length === 0) return
    this.revocations.set(id, { tokens: tokens.map((token) => token.id), durable })
    for (const dead of tokens) {
      const token = this.tokens.get(dead.id)
      if (!token) continue
      token.revocation = id
      this.touch(token)
    }
  }

  /** After a restart: what was acknowledged holds, what was not is whole or not there, and the rest is adopted. */
  async settle(node: TestNode, random: Random, everything = false): Promise<void> {
    const rotations = await this.#readAudit(node)
    const list = new Map((await allOf<TokenJson>(node, '/tokens')).map((token) => [token.id, token]))
    const receipts = await this.#receipts(node, everything)
    this.#settleTokens(list)
    this.#settleReceipts(receipts, list)
    this.#settleRotations(rotations)
    await this.#settleGates(node)
    this.#settleUsage(list)
    this.asked.clear()
    const chain = await node.api<{ status: string; message: string }>('GET', '/audit/verification')
    if (chain.json.status !== 'intact') this.fail(`the audit log is ${chain.json.status}: ${chain.json.message}`)
    await this.#knock(node, everything ? null : random)
    this.#touched = new Set()
  }

  /** Reads what was appended, without a gap; returns the rotations by token. */
  async #readAudit(node: TestNode): Promise<Map<string, AuditRowJson[]>> {
    const rotations = new Map<string, AuditRowJson[]>()
    for (;;) {
      const path = `/audit?limit=1000&after=${this.#head.sequence}`
      const { items } = (await node.api<{ items: AuditRowJson[] }>('GET', path)).json
      for (const row of items) {
        if (row.sequence !== this.#head.sequence + 1) this.fail(`audit row ${this.#head.sequence + 1} is missing`)
        if (this.#head.sequence > 0 && row.previousHash !== this.#head.hash) this.fail(`row ${row.sequence} was forked`)
        this.#head = { sequence: row.sequence, hash: row.hash }
        const { action, targetId, details } = row
        if (action === 'token.issue') this.#issueRows.add(targetId ?? '')
        if (action === 'token.rotate') rotations.set(targetId ?? '', [...(rotations.get(targetId ?? '') ?? []), row])
        if (action === 'token.revoke') {
          const revocation = String(details['revocation'])
          if (this.#revokeRows.has(revocation)) this.fail(`${revocation} has two audit rows`)
          this.#revokeRows.set(revocation, Number(details['count']))
        }
      }
      if (items.length < 1_000) return rotations
    }
  }

  /** Receipts that are new to the ledger, and of the old ones all or a few. */
  async #receipts(node: TestNode, everything: boolean): Promise<Map<string, RevocationJson>> {
    if (everything) return new Map((await allOf<RevocationJson>(node, '/revocations')).map((one) => [one.id, one]))
    const { items } = (await node.api<{ items: RevocationJson[] }>('GET', '/revocations?limit=300')).json
    return new Map(items.map((receipt) => [receipt.id, receipt]))
  }

  #settleTokens(list: Map<string, TokenJson>): void {
    const askedNames = new Set([...this.asked].map((asked) => (asked.kind === 'issue' ? asked.name : '')))
    for (const json of list.values()) {
      if (!this.#issueRows.has(json.id)) this.fail(`${json.id} is in the list, without an audit row`)
      if (this.tokens.has(json.id)) continue
      if (!askedNames.has(json.name)) this.fail(`${json.id} (${json.name}) was never asked for`)
      this.issued(json, null)
    }
    for (const id of this.#issueRows) if (!list.has(id)) this.fail(`${id} has an audit row, and is not in the list`)
    for (const { id } of this.tokens.values()) if (!list.has(id)) this.fail(`${id} was issued, and is gone`)
  }

  /** A revocation is a receipt, an audit row and dead tokens: all three of them, or none. */
  #settleReceipts(receipts: Map<string, RevocationJson>, list: Map<string, TokenJson>): void {
    const askedNotes = new Set([...this.asked].map((asked) => (asked.kind === 'revoke' ? asked.note : '')))
    const keysAsked = [...this.asked].some(({ kind }) => kind === 'key')
    for (const receipt of receipts.values()) {
      const { id, note, tokens } = receipt
      const rows = this.#revokeRows.get(id)
      if (rows !== tokens.length)
        this.fail(`${id} killed ${tokens.length}, and its audit row says ${rows ?? 'nothing'}`)
      const known = this.revocations.get(id)
      if (!known && !askedNotes.has(note) && !(keysAsked && note.startsWith('key '))) {
        this.fail(`${id} (${note}) was never asked for`)
      }
      if (
        known &&
        known.tokens.toSorted().join() !==
          tokens
            .map((token) => token.id)
            .toSorted()
            .join()
      ) {
        this.fail(`${id} was answered with other tokens than its receipt has`)
      }
      if (!known) this.revoked(receipt)
      for (const dead of tokens) {
        const json = list.get(dead.id)
        if (json?.status !== 'revoked' || json.revocationId !== id) {
          this.fail(`${dead.id} was killed by ${id}, and is ${json?.status ?? 'gone'} (${json?.revocationId})`)
        }
      }
    }
    for (const [id, { tokens }] of this.revocations) {
      if (!this.#revokeRows.has(id)) this.fail(`${id} was acknowledged, and has no audit row`)
      for (const token of tokens) {
        const json = list.get(token)
        if (json?.status !== 'revoked') this.fail(`${token} was revoked by ${id}, and is ${json?.status ?? 'gone'}`)
      }
    }
    for (const id of this.#revokeRows.keys()) {
      if (!receipts.has(id) && !this.revocations.has(id)) this.fail(`${id} has an audit row, and no receipt`)
    }
    for (const { id, status, revocationId } of list.values()) {
      const held = this.tokens.get(id)
      if (status === 'revoked' && held && held.revocation !== revocationId) {
        this.fail(`${id} is revoked by ${revocationId}, which no receipt says (${held.revocation})`)
      }
    }
    for (const token of this.mustBeDead) {
      if (list.get(token.id)?.status !== 'revoked')
        this.fail(`${token.id} matched an acknowledged revocation, and lives`)
    }
    this.mustBeDead.clear()
  }

  /** A rotation that was not answered was done when there is a row of it; that says when the old secret dies. */
  #settleRotations(rows: Map<string, AuditRowJson[]>): void {
    const asked = new Map<HeldToken, number>()
    for (const one of this.asked) if (one.kind === 'rotate') asked.set(one.token, one.graceMs)
    for (const token of this.tokens.values()) {
      const done = rows.get(token.id) ?? []
      const graceMs = asked.get(token)
      const isMore = graceMs !== undefined && done.length === token.rotations + 1
      if (done.length !== token.rotations && !isMore) {
        this.fail(`${token.id} was rotated ${token.rotations} times, and the audit log knows ${done.length}`)
      }
      if (isMore) this.rotated(token, null, graceMs === 0 ? 0 : Number(done.at(-1)?.details['oldSecretDiesAt']))
      Object.assign(token, { rotating: false, rotations: 0 })
    }
  }

  async #settleGates(node: TestNode): Promise<void> {
    for (const { name, state } of await allOf<ServerJson>(node, '/servers')) {
      const possible = [this.gates.get(name) ?? 'open']
      for (const asked of this.asked) if (asked.kind === 'gate' && asked.server === name) possible.push(asked.state)
      if (!possible.includes(state)) this.fail(`${name} was ${possible.join(' or ')}, and is ${state}`)
      this.gates.set(name, state)
    }
  }

  /** Requests are counted up to the last flush at least, and never more than were sent. */
  #settleUsage(list: Map<string, TokenJson>): void {
    for (const token of this.tokens.values()) {
      const requests = list.get(token.id)?.requests ?? 0
      const sentMax = token.counted + token.sent
      if (requests < token.counted || requests > sentMax) {
        this.fail(`${token.id} has ${requests} requests: ${token.counted} were written, ${sentMax} sent`)
      }
      Object.assign(token, { counted: requests, answered: 0, sent: 0 })
    }
  }

  /** What was answered is written now: after a flush, or a stop in good order. */
  flushed(): void {
    for (const token of this.tokens.values()) {
      token.counted += token.answered
      token.sent -= token.answered
      token.answered = 0
    }
  }

  /** Asks with every secret, without a look at what is stored. */
  async knockAll(node: TestNode): Promise<void> {
    await this.#knock(node, null)
  }

  /** Asks with each secret whether it passes, and why not. Without random numbers: with all of them. */
  async #knock(node: TestNode, random: Random | null): Promise<void> {
    const all = [...this.tokens.values()]
    const some = random ? [...this.#touched, ...Array.from({ length: SAMPLE }, () => random.any(all))] : all
    const asked = [...new Set(some)].flatMap((token) => token?.secrets.map((secret) => ({ token, secret })) ?? [])
    for (let at = 0; at < asked.length; at += 16) {
      await Promise.all(asked.slice(at, at + 16).map(({ token, secret }) => this.#try(node, token, secret)))
    }
  }

  async #try(node: TestNode, token: HeldToken, secret: HeldSecret): Promise<void> {
    const server = token.servers[0] ?? ''
    const state = this.stateOf(token, secret)
    // What was asked and not answered may be in force.
    if (state === 'alive' && this.unsettled) return
    const { status, type } = await knock(node, server, token, secret.text)
    const closed = this.gates.get(server) === 'closed'
    const expected = state === 'dead' ? 401 : closed ? 503 : 200
    const isWhy = token.revocation === null || type === 'token-revoked' || (this.keyGone && type === 'token-unknown')
    if (state === 'unknown' || (status === expected && isWhy)) return
    const revoked = token.revocation === null ? '' : `, revoked by ${token.revocation}`
    this.fail(`${token.id} (${state}${revoked}) was answered ${status} ${type} at ${server}, and not ${expected}`)
  }
}

/** One request at the gate: its status, and the problem's type. Counts it. */
export const knock = async (node: TestNode, server: string, token: HeldToken, secret: string) => {
  token.sent += 1
  const response = await fetch(`${node.gate}/s/${server}/x`, {
    headers: { authorization: `Bearer ${secret}` },
    tls: { rejectUnauthorized: false },
  })
  const text = await response.text()
  // Refusals are not all counted as requests of the token.
  if (response.status === 200) token.answered += 1
  const type = response.status === 200 ? '' : String((JSON.parse(text) as { type: string }).type).replace(/^.*:/, '')
  return { status: response.status, type }
}
