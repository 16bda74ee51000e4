import { MASK, type ServerRequest } from '../../control.ts'
import { invalid } from '../../error.ts'
import { limits } from '../../limits.ts'
import { holdsSecret } from '../../secret.ts'
import { serverHeaders, serverName, serverPath, serverUrl, type Upstream } from '../../upstream.ts'
import { KINDS, type ServerFailures, type ServerTyped } from '../../views/server-form.tsx'
import { reading, shownOf } from './fields.ts'

export const EMPTY: ServerTyped = {
  name: '',
  url: '',
  kind: 'auto',
  path: '',
  headerNames: [],
  replaced: [],
  dropped: [],
}

const LINE = /^([^:\s]+)\s*:\s*(.*)$/

/** One `Name: value` a line. What was typed may be nothing but a secret, so that no message repeats it. */
const linesOf = (text: string): [name: string, value: string][] => {
  const lines = text.split(/\r?\n/).map((line) => line.trim())
  const seen = new Set<string>()
  return lines.flatMap((line, index): [string, string][] => {
    if (line === '') return []
    const [, name, value] = LINE.exec(line) ?? []
    if (name === undefined || value === undefined) throw invalid(`line ${index + 1}: write it like Name: value`)
    if (value === '') throw invalid(`line ${index + 1}: its value is missing`)
    if (value === MASK) throw invalid(`line ${index + 1}: "${MASK}" is no value`)
    if (seen.has(name.toLowerCase())) throw invalid(`line ${index + 1}: that name is given twice`)
    seen.add(name.toLowerCase())
    return [[name, value]]
  })
}

/** Names of what was typed as headers; a line that is no header, or whose name is a secret, has none. */
const namesIn = (text: string): string[] =>
  text.split(/\r?\n/).flatMap((line) => {
    const name = LINE.exec(line.trim())?.[1]
    return name !== undefined && name.length <= limits.nameLengthMax && !holdsSecret(name) ? [name] : []
  })

/** New values of headers that are there already, by name. */
const replacedIn = (fields: URLSearchParams): Map<string, string> => {
  const values = fields.getAll('value')
  const all = fields.getAll('known').map((name, index) => [name, values[index]?.trim() ?? ''] as const)
  return new Map(all.filter(([, value]) => value !== ''))
}

const isKind = (text: string | null): text is keyof typeof KINDS => text !== null && Object.hasOwn(KINDS, text)

/** What the form is filled with when it comes back: no secret, and no value of a header. */
export const typedOf = (fields: URLSearchParams): ServerTyped => {
  const kind = fields.get('kind')
  return {
    name: shownOf(fields, 'name'),
    url: withoutCredentials(shownOf(fields, 'url')),
    kind: isKind(kind) ? kind : 'auto',
    path: shownOf(fields, 'path'),
    headerNames: namesIn(fields.get('headers') ?? ''),
    replaced: [...replacedIn(fields).keys()],
    dropped: fields.getAll('drop'),
  }
}

/** What may hold credentials in a URL is refused, and must not stand in the answer. */
const withoutCredentials = (text: string): string => {
  if (!URL.canParse(text)) return text
  const url = new URL(text)
  if (!url.username && !url.password && !url.search && !url.hash) return text
  return Object.assign(url, { username: '', password: '', search: '', hash: '' }).href
}

type Read<T> = { request: T; failures: ServerFailures }

const kindOf = (fields: URLSearchParams): keyof typeof KINDS => {
  const kind = fields.get('kind') ?? 'auto'
  if (!isKind(kind)) throw invalid(`the kind is one of: ${Object.keys(KINDS).join(', ')}`)
  return kind
}

const headersIn = (fields: URLSearchParams): Record<string, string> => {
  const headers = Object.fromEntries(linesOf(fields.get('headers') ?? ''))
  serverHeaders(headers)
  return headers
}

/** What the form asks for; or, for each field that is wrong, why. */
export const additionOf = (fields: URLSearchParams): Read<ServerRequest> => {
  const { failures, read } = reading<keyof ServerFailures>()
  const text = (name: string) => (fields.get(name) ?? '').trim()
  const request = {
    name: read('name', () => serverName(text('name'))) ?? '',
    url: read('url', () => serverUrl(text('url')).href) ?? '',
    kind: kindOf(fields),
    path: read('path', () => serverPath(text('path'))) ?? '',
    headers: read('headers', () => headersIn(fields)) ?? {},
  }
  return { request, failures }
}

export type ServerPatch = Partial<Omit<ServerRequest, 'name'>>

/** What the form changes, and nothing else: the audit log says which. */
export const patchOf = (server: Upstream, fields: URLSearchParams): Read<ServerPatch> => {
  const { failures, read } = reading<keyof ServerFailures>()
  const text = (name: string) => (fields.get(name) ?? '').trim()
  const request: ServerPatch = {}
  const url = read('url', () => serverUrl(text('url')).href)
  if (url !== undefined && url !== server.url.href) request.url = url
  const kind = kindOf(fields)
  if (kind !== server.kind) request.kind = kind
  const path = read('path', () => serverPath(text('path')))
  if (path !== undefined && path !== server.path) request.path = path
  const headers = read('headers', () => changedHeaders(server, fields))
  if (headers) request.headers = headers
  return { request, failures }
}

/** All headers as they shall be, or null where none changes. What the form did not know of is kept. */
const changedHeaders = (server: Upstream, fields: URLSearchParams): Record<string, string> | null => {
  const replaced = replacedIn(fields)
  const dropped = new Set(fields.getAll('drop'))
  const added = headersIn(fields)
  const addedNames = new Set(Object.keys(added).map((name) => name.toLowerCase()))
  let isChanged = addedNames.size > 0
  const headers: Record<string, string> = {}
  for (const [name] of server.headers) {
    const value = replaced.get(name)
    if (dropped.has(name) || value !== undefined) isChanged = true
    if (addedNames.has(name.toLowerCase())) throw invalid(`${name} is there already: type its new value beside it`)
    if (!dropped.has(name)) headers[name] = value ?? MASK
  }
  const all = { ...headers, ...added }
  serverHeaders(all)
  return isChanged ? all : null
}
