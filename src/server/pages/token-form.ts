import { AppError, conflict, invalid } from '../../error.ts'
import type { IssueRequest } from '../../issuance.ts'
import { type Policy, type PolicyRequest, policyOf } from '../../policy.ts'
import { holdsSecret } from '../../secret.ts'
import { line, lineOrNull, partsOf } from '../../text.ts'
import { parseExpiry } from '../../time.ts'
import type { PolicyTyped } from '../../views/policy.tsx'
import type { TokenFailures, TokenTyped } from '../../views/token-form.tsx'
import { sentenceOf } from './failure.tsx'

const NO_POLICY: PolicyTyped = { allow: '', deny: '', readOnly: false, callsPerMinute: '', concurrentStreams: '' }

/** What stands in the form at first: most tokens should end by themselves. */
export const EMPTY: TokenTyped = { name: '', servers: [], subject: '', group: '', expires: '30d', ...NO_POLICY }

const TEXTS = ['name', 'subject', 'group', 'expires', 'allow', 'deny', 'callsPerMinute', 'concurrentStreams'] as const

export const typedOf = (fields: URLSearchParams): TokenTyped => ({
  ...EMPTY,
  ...Object.fromEntries(TEXTS.map((name) => [name, fields.get(name) ?? ''])),
  servers: fields.getAll('server'),
  readOnly: fields.has('readOnly'),
})

/** The same as it may be shown again: a page that holds a secret is none of those that may. */
export const withoutSecrets = <T extends PolicyTyped>(typed: T): T => ({
  ...typed,
  ...Object.fromEntries(
    Object.entries(typed)
      .filter(([, value]) => typeof value === 'string' && holdsSecret(value))
      .map(([name]) => [name, '']),
  ),
})

/** A policy as it would be typed. Throws `conflict` for one that can't be. */
export const typedPolicyOf = (policy: Policy | null): PolicyTyped => {
  if (policy === null) return NO_POLICY
  const { allow, deny, readOnly, callsPerMinute, concurrentStreams } = policy
  if ([...(allow ?? []), ...deny].some((pattern) => pattern.includes(','))) {
    throw conflict('a pattern of this policy holds a comma, which stands between patterns here: use the API')
  }
  return {
    allow: (allow ?? []).join(', '),
    // Nothing typed above means any tool, not none.
    deny: (allow?.length === 0 ? ['*', ...deny] : deny).join(', '),
    readOnly,
    callsPerMinute: String(callsPerMinute ?? ''),
    concurrentStreams: String(concurrentStreams ?? ''),
  }
}

const wholeOrNull = (text: string): number | null => {
  const trimmed = text.trim()
  if (trimmed === '') return null
  return /^\d+$/.test(trimmed) ? Number(trimmed) : NaN
}

/** Beside a field, its name need not be said again. */
const FIELD = /^(\w+): /
const besideField = ({ kind, message }: AppError): string =>
  sentenceOf(new AppError(kind, message.replace(FIELD, ''))).sentence

/** Reads a field, or keeps what is wrong with it. */
type Read<K> = <T>(field: K, parse: () => T) => T | null

const reader =
  <K extends string>(failures: { [X in K]?: string }): Read<K> =>
  (field, parse) => {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      failures[field] = besideField(error)
      return null
    }
  }

const policyRequestOf = (typed: PolicyTyped, read: Read<keyof PolicyTyped>): PolicyRequest => {
  const rule = <K extends keyof PolicyTyped>(field: K, value: PolicyRequest[K]) =>
    read(field, () => policyOf({ [field]: value })?.[field])
  const allow = partsOf(typed.allow)
  return {
    allow: rule('allow', allow.length > 0 ? allow : null) ?? null,
    deny: rule('deny', partsOf(typed.deny)) ?? [],
    readOnly: typed.readOnly,
    callsPerMinute: rule('callsPerMinute', wholeOrNull(typed.callsPerMinute)) ?? null,
    concurrentStreams: rule('concurrentStreams', wholeOrNull(typed.concurrentStreams)) ?? null,
  }
}

type PolicyFailures = { [K in keyof PolicyTyped]?: string }

/** The policy that the form asks for; or, for each field that is wrong, why. */
export const policyFormOf = (typed: PolicyTyped): { request: PolicyRequest; failures: PolicyFailures } => {
  const failures: PolicyFailures = {}
  return { request: policyRequestOf(typed, reader(failures)), failures }
}

/** What the form asks for; or, for each field that is wrong, why. */
export const requestOf = (typed: TokenTyped, now: number): { request: IssueRequest; failures: TokenFailures } => {
  const failures: TokenFailures = {}
  const read: Read<keyof TokenTyped> = reader(failures)
  const { expires } = typed
  const request: IssueRequest = {
    name: read('name', () => line(typed.name, 'the name')) ?? '',
    servers:
      read('servers', () => {
        if (typed.servers.length === 0) throw invalid('choose at least one')
        return typed.servers
      }) ?? [],
    subject: read('subject', () => lineOrNull(typed.subject, 'the subject')),
    group: read('group', () => lineOrNull(typed.group, 'the group')),
    expiresAt: read('expires', () => (expires.trim() === '' ? null : parseExpiry(expires, now, 'expires'))),
    policy: policyRequestOf(typed, read),
  }
  return { request, failures }
}

/** A refusal by the domain beside the field that it is about, or null where it is about none. */
export const failuresOf = (error: AppError): TokenFailures | null => {
  const field = error.kind === 'conflict' ? 'name' : FIELD.exec(error.message)?.[1]
  return field !== undefined && field in EMPTY ? { [field]: besideField(error) } : null
}
