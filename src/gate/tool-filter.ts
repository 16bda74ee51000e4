import { type Policy, toolDenial } from '../policy.ts'
import { isRecord } from './rpc.ts'
import { changeEvents } from './sse.ts'
import { rewriteJson } from './strict.ts'

type ToolList = Record<string, unknown> & { tools: unknown[] }

const listsIn = (parsed: unknown): ToolList[] =>
  (Array.isArray(parsed) ? parsed : [parsed]).flatMap((message: unknown) => {
    const result = isRecord(message) ? message.result : null
    return isRecord(result) && Array.isArray(result.tools) ? [result as ToolList] : []
  })

/** Takes out of lists of tools what a policy does not allow; what holds no such list passes byte for byte. */
export class ToolFilter {
  constructor(readonly policy: Policy) {}

  /** A JSON body. Throws when it is none. */
  body(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes
    const json = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return this.#changes(JSON.parse(json)) ? new TextEncoder().encode(rewriteJson(json, this.#filtered)) : bytes
  }

  /** Whole events. Throws when a message in them is no JSON. */
  events(bytes: Uint8Array): Uint8Array {
    return changeEvents(bytes, ({ name, data }) => {
      // An event without data, or one that is not MCP's, carries no message.
      if (data === '' || name !== 'message') return null
      return this.#changes(JSON.parse(data)) ? rewriteJson(data, this.#filtered) : null
    })
  }

  #changes(parsed: unknown): boolean {
    return listsIn(parsed).some(({ tools, cacheScope }) => cacheScope === 'public' || !tools.every(this.#mayShow))
  }

  readonly #filtered = (parsed: unknown): unknown => {
    for (const result of listsIn(parsed)) {
      result.tools = result.tools.filter(this.#mayShow)
      // A list that was made for one token must not be kept for others.
      if (result.cacheScope !== undefined) result.cacheScope = 'private'
    }
    return parsed
  }

  readonly #mayShow = (tool: unknown): boolean => {
    if (!isRecord(tool) || typeof tool.name !== 'string') return false
    const readOnly = isRecord(tool.annotations) && tool.annotations.readOnlyHint === true
    return toolDenial(this.policy, tool.name, readOnly) === null
  }
}
