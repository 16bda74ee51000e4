import { Database } from 'bun:sqlite'
import { existsSync, readFileSync } from 'node:fs'
import type { AuditRowJson, RevocationJson, ServerJson, VerificationJson } from '../../src/server/api/schemas.ts'
import { filesOf } from '../../src/store/folder.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { open, type RawClient } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import { tempFolder } from '../support/temp.ts'

export const BINARY = [builtBinary()]
/** The runtime keeps a cache in its home, which is no part of the folder. */
export const home = tempFolder()

/** What a change was answered with, and what it promised. */
export interface Answered {
  status: number
  durable: boolean
  lostOnRestart?: boolean
  /** Of the revocation; null for a kill or a closing. */
  id: string | null
}

export type Deed = 'revoke' | 'kill' | 'close'
export const DEEDS: readonly Deed[] = ['revoke', 'kill', 'close']
const ACTION: Record<Deed, string> = { revoke: 'token.revoke', kill: 'server.kill', close: 'server.close' }

const expectThat = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(what)
}

/** A node on a folder, with what it acknowledged, which must hold whatever the disk does. */
export class Subject {
  readonly #dead: { secret: string; receipt: string }[] = []
  /** Revoked, but lost if the process ends now. */
  #unsure: { secret: string; receipt: string }[] = []
  /** Rows that the audit log must hold, and no more: for what was not promised over a restart there may be one. */
  #deeds: Record<Deed, { sure: number; may: number }> = {
    revoke: { sure: 0, may: 0 },
    kill: { sure: 0, may: 0 },
    close: { sure: 0, may: 0 },
  }
  #made = 0
  #node: TestNode | null = null

  constructor(
    readonly data: string,
    readonly upstream: string,
  ) {}

  /** What a disk fault is aimed at. */
  get paths() {
    const { database, journal } = filesOf(this.data)
    return { database: [database, `${database}-wal`], journal: [journal], both: [database, `${database}-wal`, journal] }
  }

  /** The same promises, for a copy of the folder. */
  on(data: string): Subject {
    const copy = new Subject(data, this.upstream)
    copy.#dead.push(...this.#dead)
    copy.#deeds = structuredClone(this.#deeds)
    copy.#made = this.#made
    return copy
  }

  get running(): boolean {
    return this.#node !== null
  }

  get node(): TestNode {
    if (!this.#node) throw new Error('the node does not run')
    return this.#node
  }

  async start(command: string[] = BINARY): Promise<void> {
    this.#node = await startNode({ data: this.data, command, env: { HOME: home } })
  }

  async addServer(): Promise<void> {
    await this.node.addServer('events', this.upstream)
  }

  async kill(): Promise<void> {
    this.#node?.kill('SIGKILL')
    await this.#node?.exited
    this.#node = null
  }

  async openStream(): Promise<{ id: string; secret: string; stream: RawClient }> {
    const { id, token } = await this.node.createToken(`token ${(this.#made += 1)}`, ['events'])
    const stream = await open(this.node.gate, { target: '/s/events/sse', headers: bearer(token) })
    await stream.until(({ text }) => text.includes('data: '))
    return { id, secret: token, stream }
  }

  async statusOf(secret: string): Promise<number> {
    const client = await open(this.node.gate, { target: '/s/events/sse', headers: bearer(secret) })
    await client.until(({ head }) => head !== null)
    client.close()
    return client.status
  }

  /** Does it to a token with an open stream: it must be cut and, where it is to die, refused, whatever the disk does. */
  async act(deed: Deed): Promise<Answered> {
    const { id, secret, stream } = await this.openStream()
    return this.actOn(deed, id, secret, stream)
  }

  async actOn(deed: Deed, token: string, secret: string, stream: RawClient): Promise<Answered> {
    const requests = {
      revoke: ['POST', '/revocations', { tokens: [token], reason: 'compromised' }],
      kill: ['DELETE', '/servers/events/connections', undefined],
      close: ['PUT', '/servers/events/gate', { state: 'closed', reason: 'stop' }],
    } as const
    const [method, path, body] = requests[deed]
    const { status, json } = await this.node.api<RevocationJson>(method, path, body)
    const said = JSON.stringify(json)
    expectThat([200, 201, 507].includes(status), `answered ${status}: ${said}`)
    expectThat(json.durable === (status !== 507), `answered ${status} with durable ${json.durable}: ${said}`)
    expectThat(status === 507 || json.lostOnRestart === undefined, `durable, and lost on restart: ${said}`)
    await stream.done()
    const farewell = deed === 'revoke' ? 'token_revoked' : deed === 'kill' ? 'connection_killed' : 'server_closed'
    expectThat(stream.text.includes(farewell), `the stream ended without ${farewell}`)
    const passes = await this.statusOf(secret)
    const expected = { revoke: 401, kill: 200, close: 503 }[deed]
    expectThat(passes === expected, `after it the token gets ${passes}, not ${expected}`)
    const answered = {
      status,
      durable: json.durable,
      id: json.id ?? null,
      ...(json.lostOnRestart && { lostOnRestart: true }),
    }
    this.#deeds[deed].sure += answered.lostOnRestart ? 0 : 1
    this.#deeds[deed].may += 1
    if (deed === 'revoke') (answered.lostOnRestart ? this.#unsure : this.#dead).push({ secret, receipt: json.id })
    return answered
  }

  async readyz(): Promise<{ status: number; text: string }> {
    const response = await fetch(`${this.node.console}/readyz`)
    return { status: response.status, text: await response.text() }
  }

  async isReady(): Promise<void> {
    let last = ''
    const ready = async () => {
      const { status, text } = await this.readyz()
      last = text
      return status === 200
    }
    await eventually(ready, { timeoutMs: 15_000, everyMs: 10 }).catch(() => {
      throw new Error(`not ready though the disk is well: ${last}`)
    })
  }

  /** While the disk still fails, after a 507. */
  async expectTold({ id, lostOnRestart }: Answered): Promise<void> {
    const { status, text } = await this.readyz()
    expectThat(status === 503, `readyz says ${status} while a change waits for the disk: ${text}`)
    if (id === null) return
    const { json } = await this.node.api<RevocationJson>('GET', `/revocations/${id}`)
    const said = [json.durable, json.lostOnRestart].join()
    expectThat(said === [false, lostOnRestart].join(), `its receipt says ${JSON.stringify(json)}`)
  }

  /** Whatever the disk does. */
  async expectDead(): Promise<void> {
    for (const { secret, receipt } of this.#dead) {
      const status = await this.statusOf(secret)
      expectThat(status === 401, `a revoked token gets ${status}: ${receipt}`)
    }
  }

  /** The disk is well: all that was promised holds, once, and nothing waits any more. */
  async expectAll(restarted: boolean): Promise<void> {
    await this.isReady()
    const { node } = this
    if (!restarted) {
      this.#dead.push(...this.#unsure)
      for (const deed of DEEDS) this.#deeds[deed].sure = this.#deeds[deed].may
    }
    this.#unsure = []
    await this.expectDead()
    for (const { receipt } of this.#dead) {
      const { status: found, json } = await node.api<RevocationJson>('GET', `/revocations/${receipt}`)
      expectThat(found === 200 && json.durable, `the receipt ${receipt}: ${found} ${JSON.stringify(json)}`)
    }
    const verified = await node.api<VerificationJson>('GET', '/audit/verification')
    expectThat(verified.json.status === 'intact', `audit verify: ${verified.json.message}`)
    for (const deed of DEEDS) {
      const { sure, may } = this.#deeds[deed]
      const path = `/audit?limit=1000&action=${ACTION[deed]}`
      const rows = (await node.api<{ items: AuditRowJson[] }>('GET', path)).json.items.length
      expectThat(rows >= sure && rows <= may, `${rows} rows of ${ACTION[deed]}, for ${sure} promised and ${may} done`)
      // What is found now is what was done.
      this.#deeds[deed] = { sure: rows, may: rows }
    }
    const journal = filesOf(this.data).journal
    expectThat(existsSync(journal) && readFileSync(journal).every((byte) => byte === 0), 'the journal is not empty')
  }

  /** Closed, where it must be; and open again for what comes next. */
  async expectClosed(): Promise<void> {
    const { json } = await this.node.api<ServerJson>('GET', '/servers/events')
    expectThat(json.state === 'closed', 'a closed server is open again')
    await this.reopen()
  }

  async reopen(): Promise<void> {
    const { status, json } = await this.node.api('PUT', '/servers/events/gate', { state: 'open' })
    expectThat(status === 200, `it can't be opened: ${status} ${JSON.stringify(json)}`)
  }

  /** Another holds the database: nothing can be written to it, until `release`. */
  holdDatabase(): { release(): void } {
    const other = new Database(filesOf(this.data).database, { readwrite: true, create: false })
    other.run('BEGIN IMMEDIATE')
    return {
      release() {
        other.run('ROLLBACK')
        other.close()
      },
    }
  }
}
