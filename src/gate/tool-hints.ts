import type { Limits } from '../limits.ts'
import type { Stopwatch } from '../time.ts'
import type { Upstream } from '../upstream.ts'
import type { ToolHint } from './introduce.ts'

interface Entry {
  /** Of a command that was changed since, nothing is known. */
  readonly stdio: Upstream['stdio']
  /** By name: whether the server says that the tool only reads. */
  tools: ReadonlyMap<string, boolean>
  askedAt: number
  asking: Promise<void> | null
}

/** Lists the tools behind a URL; null where there are none. Throws when nothing answers. */
export type ListTools = (server: Upstream, url: URL) => Promise<ToolHint[] | null>

/**
 * Which tools are annotated as read-only. The gate asks the servers itself: what passes through it was
 * asked for by clients, and some of those are whom the policy is for.
 */
export class ToolHints {
  readonly #entries = new Map<string, Entry>()

  constructor(
    readonly list: ListTools,
    readonly limits: Limits,
    readonly now: Stopwatch,
  ) {}

  /** Whether a tool is read-only; false too when its server can't be asked. Asks for what it does not know. */
  async isReadOnly(server: Upstream, called: URL, tool: string): Promise<boolean> {
    // Without the query, which clients can invent.
    const url = new URL(called.origin + called.pathname)
    const entry = this.#entryOf(server, url)
    const age = this.now() - entry.askedAt
    const known = entry.tools.get(tool)
    if (known !== undefined && age < this.limits.toolHintsMs) return known
    // Invented names must not make the gate ask again and again.
    if (entry.asking === null && age >= this.limits.toolHintsRetryMs) entry.asking = this.#ask(entry, server, url)
    await entry.asking
    return entry.tools.get(tool) ?? false
  }

  async #ask(entry: Entry, server: Upstream, url: URL): Promise<void> {
    try {
      const tools = (await this.list(server, url)) ?? []
      entry.tools = new Map(tools.map(({ name, readOnly }) => [name, readOnly]))
    } catch {
      // A server that can't be asked: then nothing is known to be read-only, and calls are refused.
      entry.tools = new Map()
    }
    entry.askedAt = this.now()
    entry.asking = null
  }

  #entryOf(server: Upstream, url: URL): Entry {
    const key = `${server.id} ${url.href}`
    let entry = this.#entries.get(key)
    if (!entry || entry.stdio !== server.stdio) {
      const oldest = this.#entries.keys().next()
      if (this.#entries.size >= this.limits.toolHintEndpointsMax && !oldest.done) this.#entries.delete(oldest.value)
      entry = { stdio: server.stdio, tools: new Map(), askedAt: -Infinity, asking: null }
      this.#entries.set(key, entry)
    }
    return entry
  }
}
