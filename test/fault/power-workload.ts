import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import type {
  AuditRowJson,
  RevocationJson,
  RingKeyJson,
  ServerJson,
  TokenIssuedJson,
  TokenJson,
  VerificationJson,
} from '../../src/server/api/schemas.ts'
import { filesOf } from '../../src/store/folder.ts'
import type { TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import type { Random } from '../support/random.ts'
import { open } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'

/**
 * What holds at a node, a line each: `live TOKEN#N` for each secret that passes, `closed SERVER`, `policy TOKEN CALLS`,
 * `keys N`, and `revocation ID` and `audited ID` for each receipt.
 */
export type World = Set<string>

/** Takes out what begins like this. */
const without = (world: World, start: string): void => {
  for (const line of world) if (line.startsWith(start)) world.delete(line)
}

/** A change that was acknowledged: by which answer, and what holds from then on. */
export interface Step {
  what: string
  /** The body of the answer: it is found in the trace by that. */
  answer: string
  apply(world: World): void
}

interface PageOf<T> {
  items: T[]
  next: string | null
}

const allOf = async <T>(node: TestNode, path: string): Promise<T[]> => {
  const items: T[] = []
  for (let after = ''; ;) {
    const { status, json } = await node.api<PageOf<T>>('GET', `${path}limit=500${after}`)
    if (status !== 200) throw new Error(`GET ${path} answered ${status}: ${JSON.stringify(json)}`)
    items.push(...json.items)
    if (json.next === null) return items
    after = `&after=${encodeURIComponent(json.next)}`
  }
}

/** Looks at a node from outside; each secret has the name of its line. Throws where the audit log does not hold. */
export const observe = async (node: TestNode, secrets: ReadonlyMap<string, string>): Promise<World> => {
  const world: World = new Set()
  for (const [secret, name] of secrets) {
    const response = await fetch(`${node.gate}/s/echo/x`, { headers: bearer(secret) })
    await response.arrayBuffer()
    if (response.status !== 401) world.add(`live ${name}`)
  }
  for (const server of await allOf<ServerJson>(node, '/servers?'))
    if (server.state === 'closed') world.add(`closed ${server.name}`)
  for (const { id, policy } of await allOf<TokenJson>(node, '/tokens?'))
    if (policy) world.add(`policy ${id} ${policy.callsPerMinute}`)
  for (const { id, durable } of await allOf<RevocationJson>(node, '/revocations?'))
    world.add(durable ? `revocation ${id}` : `revocation ${id}, not durable`)
  for (const { details } of await allOf<AuditRowJson>(node, '/audit?action=token.revoke&')) {
    const line = `audited ${String(details['revocation'])}`
    world.add(world.has(line) ? `${line}, twice` : line)
  }
  const keys = await node.api<{ items: RingKeyJson[] }>('GET', '/keys')
  world.add(`keys ${keys.json.items.length}`)
  const { json } = await node.api<VerificationJson>('GET', '/audit/verification')
  if (json.status !== 'intact') throw new Error(`audit verify: ${json.status}, ${json.message}`)
  const ready = await fetch(`${node.console}/readyz`)
  if (ready.status !== 200) throw new Error(`readyz: ${await ready.text()}`)
  return world
}

/** Changes a node, and notes what each answer promised. One after the other: answers are found by their order. */
export class Workload {
  readonly steps: Step[] = []
  /** All secrets ever made, by the names of their lines. */
  readonly secrets = new Map<string, string>()
  readonly #alive = new Map<string, { name: string; group: string }>()
  #made = 0
  node!: TestNode

  constructor(readonly random: Random) {}

  async #ask(method: string, path: string, body?: unknown) {
    const response = await fetch(`http://localhost/api/v1${path}`, {
      unix: join(this.node.data, 'control.sock'),
      method,
      headers: { 'X-Portcullis-Actor': 'local:0', 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, text: await response.text() }
  }

  /** One change, which must be answered with one of these; `apply` gets what the answer says. */
  async #change<T>(
    [method, path, body]: [string, string, unknown?],
    statuses: readonly number[],
    apply: (world: World, answer: T, status: number) => void,
  ): Promise<T> {
    const { status, text } = await this.#ask(method, path, body)
    if (!statuses.includes(status)) throw new Error(`${method} ${path} answered ${status}: ${text}`)
    const answer = JSON.parse(text) as T
    this.steps.push({
      what: `${method} ${path} ${JSON.stringify(body ?? null)} → ${status}`,
      answer: text,
      apply: (world) => apply(world, answer, status),
    })
    return answer
  }

  async addServer(name: string, url: string): Promise<void> {
    await this.#change(['POST', '/servers', { name, url, probe: false }], [201], () => undefined)
  }

  async issue(servers: string[]): Promise<TokenIssuedJson> {
    const name = `token ${(this.#made += 1)}`
    const request = { name, servers, subject: `s${this.#made}`, group: `g${this.#made % 5}` }
    const issued = await this.#change<TokenIssuedJson>(['POST', '/tokens', request], [201], (world, { id }) =>
      world.add(`live ${id}#0`),
    )
    this.secrets.set(String(issued.token), `${issued.id}#0`)
    this.#alive.set(issued.id, request)
    return issued
  }

  /** A new secret; the old ones die at once, or much later. */
  async rotate(id: string, graceSeconds: number): Promise<void> {
    const name = `${id}#${this.secrets.size}`
    const { token } = await this.#change<TokenIssuedJson>(
      ['POST', `/tokens/${id}/rotations`, { graceSeconds }],
      [201],
      (world) => {
        if (graceSeconds === 0) without(world, `live ${id}#`)
        world.add(`live ${name}`)
      },
    )
    this.secrets.set(String(token), name)
  }

  async setPolicy(id: string, callsPerMinute: number): Promise<void> {
    await this.#change(['PUT', `/tokens/${id}/policy`, { callsPerMinute }], [200], (world) => {
      without(world, `policy ${id} `)
      world.add(`policy ${id} ${callsPerMinute}`)
    })
  }

  async rotateKey(): Promise<void> {
    await this.#change(['POST', '/keys'], [201], (world) => {
      const keys = [...world].find((line) => line.startsWith('keys ')) ?? 'keys 1'
      world.delete(keys)
      world.add(`keys ${Number(keys.slice(5)) + 1}`)
    })
  }

  async putGate(server: string, state: 'open' | 'closed', statuses = [200]): Promise<void> {
    await this.#change(['PUT', `/servers/${server}/gate`, { state }], statuses, (world) =>
      state === 'closed' ? world.add(`closed ${server}`) : world.delete(`closed ${server}`),
    )
  }

  async kill(server: string, statuses = [200]): Promise<void> {
    await this.#change(['DELETE', `/servers/${server}/connections`], statuses, () => undefined)
  }

  /** Revokes. An answer that promises nothing over a restart counts once the receipt says that it is on disk. */
  async revoke(selector: Record<string, unknown>, statuses = [201]): Promise<RevocationJson> {
    const apply = (world: World, { id, tokens }: RevocationJson) => {
      // Nothing of it was alive: then there is no receipt.
      if (tokens.length === 0) return
      for (const token of tokens) without(world, `live ${token.id}#`)
      world.add(`revocation ${id}`).add(`audited ${id}`)
    }
    const request = { ...selector, reason: 'compromised', note: 'n'.repeat(100) }
    const receipt = await this.#change<RevocationJson>(['POST', '/revocations', request], statuses, (world, answer) => {
      if (answer.durable || !answer.lostOnRestart) apply(world, answer)
    })
    for (const { id } of receipt.tokens) this.#alive.delete(id)
    if (receipt.durable || !receipt.lostOnRestart) return receipt
    const path = `/revocations/${receipt.id}`
    await eventually(async () => (JSON.parse((await this.#ask('GET', path)).text) as RevocationJson).durable, {
      timeoutMs: 20_000,
    })
    return this.#change<RevocationJson>(['GET', path], [200], apply)
  }

  pickAlive(): string {
    const [first = '', ...more] = this.#alive.keys()
    return this.random.pick([first, ...more])
  }

  async revokeSome(count: number, statuses?: number[]): Promise<void> {
    for (let made = 0; made < count; made += 1) await this.revoke({ tokens: [this.pickAlive()] }, statuses)
  }

  async issueSome(count: number, servers: string[]): Promise<void> {
    for (let made = 0; made < count; made += 1) await this.issue(servers)
  }

  /** Each way of naming what dies, and a stream that dies with it. */
  async revokeEachWay(): Promise<void> {
    const { id, token } = await this.issue(['echo', 'shut'])
    const stream = await open(this.node.gate, { target: '/s/events/x', headers: bearer(String(token)) })
    await this.revoke({ tokens: [id] })
    stream.close()
    const bySubject = this.#alive.get(this.pickAlive())
    await this.revoke({ subject: `s${bySubject?.name.split(' ')[1]}` })
    await this.revoke({ group: this.#alive.get(this.pickAlive())?.group })
    await this.issue(['shut'])
    await this.revoke({ server: 'shut' })
    await this.revoke({ issuedBefore: new Date().toISOString() })
    await this.issueSome(3, ['echo'])
    await this.revoke({ all: true })
  }

  /** While another holds the database, nothing can be written to it: what can't wait goes to the journal. */
  async whileRefused(act: () => Promise<void>): Promise<void> {
    const other = new Database(filesOf(this.node.data).database, { readwrite: true, create: false })
    other.run('BEGIN IMMEDIATE')
    try {
      await act()
    } finally {
      other.run('ROLLBACK')
      other.close()
    }
    await eventually(async () => (await fetch(`${this.node.console}/readyz`)).status === 200, { timeoutMs: 10_000 })
  }

  async backup(file: string): Promise<void> {
    const response = await fetch('http://localhost/api/v1/backup', {
      unix: join(this.node.data, 'control.sock'),
      headers: { 'X-Portcullis-Actor': 'local:0' },
    })
    if (response.status !== 200) throw new Error(`the backup was answered with ${response.status}`)
    await Bun.write(file, response)
  }

  /** A restore was acknowledged. What holds from then on is seen at the next start, and told to what is returned. */
  restored(answer: string): (found: World) => void {
    const after: World = new Set()
    this.#alive.clear()
    this.steps.push({
      what: 'restore',
      answer,
      apply(world) {
        const before = new Set(world)
        world.clear()
        // What was dead stays dead, whatever is found.
        for (const line of after) if (before.has(line) || !line.startsWith('live ')) world.add(line)
      },
    })
    return (found) => {
      for (const line of found) after.add(line)
    }
  }
}
