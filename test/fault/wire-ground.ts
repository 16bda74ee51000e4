import { readdirSync, readFileSync } from 'node:fs'
import type { ConnectionJson } from '../../src/server/api/schemas.ts'
import { builtBinary } from '../support/binary.ts'
import { startNode, type TestNode } from '../support/node.ts'
import { eventually } from '../support/poll.ts'
import { ask, open } from '../support/raw.ts'
import type { Random } from '../support/random.ts'
import { bearer } from '../support/secret.ts'
import { type RawUpstreamRequest, startRaw } from '../support/upstreams/raw.ts'
import type { Size } from './fault.ts'

/** What the kernel closes in its own time, and the node's own files that come and go. */
const FILES_SLACK = 6
/** How long anything may take to be over; most is in a second, and some of it on a machine that does other things too. */
export const OVER_MS = 60_000

/** What an upstream does with a request: by its path, so that scenes run beside each other. */
export type Script = (request: RawUpstreamRequest) => void

/** The node that is ill-treated, its upstream, and what was counted and did not hold. */
export class WireGround {
  readonly counts: Record<string, number> = {}
  readonly failures: string[] = []
  readonly #scripts = new Map<string, Script>()
  #made = 0
  #files = 0

  private constructor(
    readonly size: Size,
    readonly random: Random,
    readonly node: TestNode,
    readonly upstream: Awaited<ReturnType<typeof startRaw>>,
  ) {}

  static async start(size: Size, random: Random, args: string[] = []): Promise<WireGround> {
    let ground: WireGround | null = null
    const upstream = await startRaw((request) => ground?.answer(request))
    const node = await startNode({ command: [builtBinary()], args })
    // One is looked at as MCP, the other passed by as plain HTTP.
    await node.addServer('mcp', upstream.url)
    await node.addServer('http', upstream.url, { kind: 'http' })
    ground = new WireGround(size, random, node, upstream)
    await ground.killsStill()
    ground.#files = ground.files
    return ground
  }

  async stop(): Promise<void> {
    const code = await this.node.stop()
    if (code !== 0) this.wrong(`the node ended with ${code}`)
    const told = this.node
      .stderr()
      .split('\n')
      .filter((line) => /promise was rejected|defect|panic|"level":(?:50|60)/.test(line))
    for (const line of told.slice(0, 3)) this.wrong(`the node said ${line}`)
    this.upstream.stop()
  }

  wrong(what: string): void {
    this.failures.push(what)
  }

  count(what: string, more = 1): void {
    this.counts[what] = (this.counts[what] ?? 0) + more
  }

  /** So many in the short form, so many in the long one. */
  many(short: number, long: number): number {
    return this.size === 'long' ? long : short
  }

  answer(request: RawUpstreamRequest): void {
    const name = /^\/([a-z0-9-]+)/.exec(request.target)?.[1] ?? ''
    const script = this.#scripts.get(name)
    if (script) script(request)
    else request.answer('404 Not Found', [], 'no script')
  }

  /** A path at the gate whose requests the script answers. */
  path(script: Script, server: 'mcp' | 'http' = 'http'): string {
    this.#made += 1
    const name = `w${this.#made}`
    this.#scripts.set(name, script)
    return `/s/${server}/${name}`
  }

  async token(): Promise<{ id: string; secret: string; headers: Record<string, string> }> {
    this.#made += 1
    const { id, token } = await this.node.createToken(`wire ${this.#made}`, ['mcp', 'http'])
    return { id, secret: token, headers: bearer(token) }
  }

  get files(): number {
    return readdirSync(`/proc/${this.node.pid}/fd`).length
  }

  get residentBytes(): number {
    return Number(readFileSync(`/proc/${this.node.pid}/statm`, 'utf8').split(' ')[1]) * 4096
  }

  get #cpuTicks(): number {
    const fields = readFileSync(`/proc/${this.node.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return Number(fields[11]) + Number(fields[12])
  }

  async connections(): Promise<ConnectionJson[]> {
    return (await this.node.api<{ items: ConnectionJson[] }>('GET', '/connections?limit=1000')).json.items
  }

  /** A fresh token opens a stream, which ends with its revocation, and passes no more. */
  async killsStill(): Promise<void> {
    const path = this.path((request) => {
      request.begin('200 OK', ['Content-Type: text/event-stream'])
      request.chunk('data: 1\n\n')
    })
    const { id, headers } = await this.token()
    const stream = await open(this.node.gate, { target: path, headers })
    try {
      await stream.until(({ text }) => text.includes('data: 1'), OVER_MS)
      await this.node.revoke({ tokens: [id] })
      await stream.done(OVER_MS)
      if (!stream.complete || !stream.text.includes('token_revoked'))
        this.wrong(`a fresh kill ended in ${stream.ended}`)
      const { status } = await ask(this.node.gate, { target: path, headers })
      if (status !== 401) this.wrong(`a dead token was answered ${status}`)
      this.count('fresh kills')
    } finally {
      stream[Symbol.dispose]()
    }
  }

  /** Nothing of the scene is left: no connection, no file, and the node works. */
  async settled(scene: string): Promise<void> {
    try {
      await eventually(async () => (await this.connections()).length === 0, { timeoutMs: OVER_MS, everyMs: 20 })
    } catch {
      const left = await this.connections()
      this.wrong(`${scene}: ${left.length} connections are left: ${JSON.stringify(left[0])}`)
    }
    await this.killsStill()
    try {
      // The runtime keeps connections to upstreams for a while, to be used again.
      await eventually(() => this.files - this.upstream.sockets() <= this.#files + FILES_SLACK, {
        timeoutMs: OVER_MS,
        everyMs: 50,
      })
    } catch {
      this.wrong(
        `${scene}: ${this.files} files are open, ${this.upstream.sockets()} of them to the upstream, and were ${this.#files}`,
      )
    }
    const { status } = await fetch(`${this.node.console}/readyz`)
    if (status !== 200) this.wrong(`${scene}: readyz is ${status}`)
  }

  /** How much memory the node holds once it has come to rest: it gives back what is free while it idles. */
  async restingBytes(): Promise<number> {
    let least = this.residentBytes
    let ticks = -1
    await eventually(
      () => {
        least = Math.min(least, this.residentBytes)
        const quiet = this.#cpuTicks === ticks
        ticks = this.#cpuTicks
        return quiet
      },
      { timeoutMs: OVER_MS, everyMs: 500, what: 'the node comes to rest' },
    )
    return Math.min(least, this.residentBytes)
  }
}
