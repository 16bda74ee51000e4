import { AppError, invalid } from '../../error.ts'
import type { IssueRequest } from '../../issuance.ts'
import { type PolicyRequest, policyOf } from '../../policy.ts'
import { holdsSecret } from '../../secret.ts'
import { line, lineOrNull, partsOf } from '../../text.ts'
import { parseExpiry } from '../../time.ts'
import type { TokenFailures, TokenTyped } from '../../views/token-form.tsx'
import { sentenceOf } from './failure.tsx'

/** What stands in the form at first: most tokens should end by themselves. */
export const EMPTY: TokenTyped = {
  name: '',
  servers: [],
  subject: '',
  group: '',
  expires: '30d',
  allow: '',
  deny: '',
  readOnly: false,
  callsPerMinute: '',
  concurrentStreams: '',
}

const TEXTS = ['name', 'subject', 'group', 'expires', 'allow', 'deny', 'callsPerMinute', 'concurrentStreams'] as const

export const typedOf = (fields: URLSearchParams): TokenTyped => ({
  ...EMPTY,
  ...Object.fromEntries(TEXTS.map((name) => [name, fields.get(name) ?? ''])),
  servers: fields.getAll('server'),
  readOnly: fields.has('readOnly'),
})

/** The same as it may be shown again: a page that holds a secret is none of those that may. */
export const withoutSecrets = (typed: TokenTyped): TokenTyped => ({
  ...typed,
  ...Object.fromEntries(TEXTS.filter((name) => holdsSecret(typed[name])).map((name) => [name, ''])),
})

const wholeOrNull = (text: string): number | null => {
  const trimmed = text.trim()
  if (trimmed === '') return null
  return /^\d+$/.test(trimmed) ? Number(trimmed) : NaN
}

/** Beside a field, its name need not be said again. */
const FIELD = /^(\w+): /
const besideField = ({ kind, message }: AppError): string =>
  sentenceOf(new AppError(kind, message.replace(FIELD, ''))).sentence

/** What the form asks for; or, for each field that is wrong, why. */
export const requestOf = (typed: TokenTyped, now: number): { request: IssueRequest; failures: TokenFailures } => {
  const failures: TokenFailures = {}
  const read = <T>(field: keyof TokenTyped, parse: () => T): T | null => {
    try {
      return parse()
    } catch (error) {
      if (!(error instanceof AppError)) throw error
      failures[field] = besideField(error)
      return null
    }
  }
  const rule = <K extends keyof PolicyRequest>(field: K, value: PolicyRequest[K]) =>
    read(field, () => policyOf({ [field]: value })?.[field])

  const { expires } = typed
  const allow = partsOf(typed.allow)
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
    policy: {
      allow: rule('allow', allow.length > 0 ? allow : null) ?? null,
      deny: rule('deny', partsOf(typed.deny)) ?? [],
      readOnly: typed.readOnly,
      callsPerMinute: rule('callsPerMinute', wholeOrNull(typed.callsPerMinute)) ?? null,
      concurrentStreams: rule('concurrentStreams', wholeOrNull(typed.concurrentStreams)) ?? null,
    },
  }
  return { request, failures }
}

/** A refusal by the domain beside the field that it is about, or null where it is about none. */
export const failuresOf = (error: AppError): TokenFailures | null => {
  const field = error.kind === 'conflict' ? 'name' : FIELD.exec(error.message)?.[1]
  return field !== undefined && field in EMPTY ? { [field]: besideField(error) } : null
}
