import { invalid } from './error.ts'
import { limits } from './limits.ts'
import { fold, line } from './text.ts'

/** What a token may do at the servers that it reaches, beyond reaching them. */
export interface Policy {
  /** Patterns of the tools that may be called; null: any. */
  allow: readonly string[] | null
  /** Patterns of tools that may not, whatever `allow` says. */
  deny: readonly string[]
  /** Only tools that their server annotates with `readOnlyHint`. */
  readOnly: boolean
  /** Calls in any 60 seconds, or null: as many as the token likes. */
  callsPerMinute: number | null
  /** Event streams held open at once, or null. */
  concurrentStreams: number | null
}

export type PolicyRequest = { [K in keyof Policy]?: Policy[K] | undefined }

/** Why a tool may not be called. */
export type ToolDenial = 'tool_denied' | 'tool_not_read_only'

/**
 * Whether a text matches a pattern: `*` stands for any characters, `?` for one, all else for itself.
 * It takes at most length × length steps: a regular expression made of `*a*a*a*` would not.
 */
export const matches = (pattern: string, text: string): boolean => {
  let [at, inPattern] = [0, 0]
  let [star, resumeAt] = [-1, 0]
  while (at < text.length) {
    if (pattern[inPattern] === '*') {
      star = inPattern
      inPattern += 1
      resumeAt = at
    } else if (pattern[inPattern] === '?' || pattern[inPattern] === text[at]) {
      inPattern += 1
      at += 1
    } else if (star >= 0) {
      // The last star takes one character more.
      resumeAt += 1
      at = resumeAt
      inPattern = star + 1
    } else {
      return false
    }
  }
  while (pattern[inPattern] === '*') inPattern += 1
  return inPattern === pattern.length
}

/** Whether a policy says anything about tools: then traffic that can't be read can't pass. */
export const hasToolRules = (policy: Policy): boolean =>
  policy.allow !== null || policy.deny.length > 0 || policy.readOnly

/** Names that one server trims, cuts short or cleans, and another takes as they are: controls, what is not seen. */
const BLURRED = /^\s|\s$|\p{C}/u

/** Denied patterns folded, once for each policy: a list of many tools would pay for it each time. */
const foldedPatterns = new WeakMap<readonly string[], readonly string[]>()

/** Whether denied patterns stand for a tool in any spelling: a server may go by another case, or a compatible character. */
const forbids = (deny: readonly string[], tool: string): boolean => {
  if (deny.length === 0) return false
  const folded = fold(tool)
  const patterns = foldedPatterns.get(deny) ?? deny.map(fold)
  foldedPatterns.set(deny, patterns)
  return deny.some((pattern) => matches(pattern, tool)) || patterns.some((pattern) => matches(pattern, folded))
}

/** Why the lists forbid a tool, or null; whether it is read-only is asked apart, since it must be found out. */
const listDenial = ({ allow, deny }: Policy, tool: string): ToolDenial | null => {
  if (tool.length > limits.toolNameLengthMax || BLURRED.test(tool)) return 'tool_denied'
  if (forbids(deny, tool)) return 'tool_denied'
  return allow === null || allow.some((pattern) => matches(pattern, tool)) ? null : 'tool_denied'
}

/** Why a tool may not be called, or null. `readOnly`: its server annotates it so. */
export const toolDenial = (policy: Policy, tool: string, readOnly: boolean): ToolDenial | null =>
  listDenial(policy, tool) ?? (policy.readOnly && !readOnly ? 'tool_not_read_only' : null)

/** Whether only the server's own annotations can tell if the tool may be called. */
export const asksForHint = (policy: Policy, tool: string): boolean =>
  policy.readOnly && listDenial(policy, tool) === null

const patterns = (given: readonly string[], what: string): string[] => {
  if (given.length > limits.toolPatternsMax) throw invalid(`${what}: more than ${limits.toolPatternsMax} patterns`)
  return [...new Set(given.map((text) => line(text, `a pattern of ${what}`, limits.toolNameLengthMax)))]
}

const whole = (given: number | null | undefined, what: string, max: number): number | null => {
  if (given === null || given === undefined) return null
  if (!Number.isInteger(given) || given < 1 || given > max) {
    throw invalid(`${what}: write a whole number from 1 to ${max}`)
  }
  return given
}

/** A checked policy, or null when it restricts nothing. Throws `invalid`. */
export const policyOf = (request: PolicyRequest | null | undefined): Policy | null => {
  if (!request) return null
  const policy: Policy = {
    allow: request.allow ? patterns(request.allow, 'allow') : null,
    deny: patterns(request.deny ?? [], 'deny'),
    readOnly: request.readOnly ?? false,
    callsPerMinute: whole(request.callsPerMinute, 'callsPerMinute', limits.callsPerMinuteMax),
    concurrentStreams: whole(request.concurrentStreams, 'concurrentStreams', limits.connectionsPerTokenMax),
  }
  const limited = policy.callsPerMinute !== null || policy.concurrentStreams !== null
  return hasToolRules(policy) || limited ? policy : null
}
