import { messageOf } from '../error.ts'
import type { Page } from './answers.ts'
import { EXIT, Exit, failed, systemCode } from './exit.ts'
import { nothingAnswers, type Place } from './locate.ts'
import { clean, warn } from './output.ts'

const PAGE_SIZE = 1_000

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE'
type Query = Record<string, string | number | undefined>

export interface Answer<T> {
  status: number
  body: T
}

interface CallOptions {
  body?: unknown
  query?: Query
  timeoutMs?: number
}

/** A name or id as one segment of a path. Dot segments can't be spelt in a URL, and nothing is named so. */
export const segment = (name: string): string => {
  if (/^\.{0,2}$/.test(name)) throw failed(`Nothing is named "${name}".`)
  return encodeURIComponent(name)
}

const searchOf = (query: Query = {}): string => {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.size > 0 ? `?${search}` : ''
}

const textOf = (value: unknown): string | null => (typeof value === 'string' && value !== '' ? value : null)

/** What lists the names where one was not found: names are told apart by every letter. */
const LISTS: Record<string, string> = {
  ...{ token: 'token ls', server: 'server ls', operator: 'operator ls', connection: 'connections', key: 'key ls' },
  ...{ 'API key': 'apikey ls', member: 'cluster status' },
}

const todoOf = (status: number, said: string): string => {
  if (status === 401) return ' (the key in PORTCULLIS_API_KEY is not, or no longer, one of that console)'
  if (/\bby force$/.test(said)) return ' (--force)'
  const [, noun = ''] =
    /\bno (?:live )?(token|server|operator|API key|connection|key|member) (?:has|of)\b/.exec(said) ?? []
  return LISTS[noun] ? ` (\`portcullis ${LISTS[noun]}\` lists all)` : ''
}

/** What a refusal says for people: the `detail` of its problem document (RFC 9457), else its title. */
const problemOf = async (response: Response): Promise<Exit> => {
  const text = await response.text()
  let problem: { detail?: unknown; title?: unknown } = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) problem = parsed
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return failed(`${response.url} answered ${response.status} without a problem document. Is it a console?`)
  }
  const said = textOf(problem.detail) ?? textOf(problem.title) ?? `The node answered ${response.status}.`
  return new Exit(EXIT.failed, clean(said) + todoOf(response.status, said))
}

/** What was done but could not be written: 507 with a document of its own, and not with a problem. */
const isInForce = (response: Response): boolean =>
  response.status === 507 && (response.headers.get('content-type') ?? '').startsWith('application/json')

const notDurable = (body: unknown): string => {
  const isLost = typeof body === 'object' && body !== null && 'lostOnRestart' in body
  return [
    '!!! NOT YET ON DISK !!!',
    'It is done and in force, but the database could not be written.',
    ...(isLost ? ['The journal could not be written either: A RESTART WOULD UNDO IT. Leave the node running.'] : []),
    'The node keeps trying. Look at its disk now, and run `portcullis doctor`.',
  ].join('\n')
}

/** The API of a running node, over its socket or its URL. Everything it throws is an `Exit`. */
export class Client {
  constructor(private readonly place: Place) {}

  async get<T>(path: string, query?: Query): Promise<T> {
    return (await this.call<T>('GET', path, { query })).body
  }

  async post<T>(path: string, body: unknown = {}): Promise<T> {
    return (await this.call<T>('POST', path, { body })).body
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return (await this.call<T>('PUT', path, { body })).body
  }

  /** What a deletion answers with, or null where it has nothing to say. */
  async delete<T>(path: string, query?: Query): Promise<T | null> {
    return (await this.call<T | null>('DELETE', path, { query })).body
  }

  /** All pages of a list, one after the other; `after` in the query says where to begin. */
  async *pages<T>(path: string, query: Query = {}): AsyncGenerator<T[]> {
    let { after } = query
    do {
      const page: Page<T> = await this.get(path, { limit: PAGE_SIZE, ...query, after })
      yield page.items
      after = page.next ?? undefined
    } while (after !== undefined)
  }

  /** A whole list as one page. */
  async all<T>(path: string, query?: Query): Promise<Page<T>> {
    const items: T[] = []
    for await (const page of this.pages<T>(path, query)) items.push(...page)
    return { items, next: null }
  }

  async call<T>(method: Method, path: string, options: CallOptions = {}): Promise<Answer<T>> {
    const response = await this.open(method, path, options)
    if (!response.ok && !isInForce(response)) throw await problemOf(response)
    const text = await response.text()
    let body: T
    try {
      body = (text === '' ? null : JSON.parse(text)) as T
    } catch (error) {
      throw failed(`${response.url} answered with something that is not JSON: ${messageOf(error)}`)
    }
    if (isInForce(response)) await warn(notDurable(body))
    return { status: response.status, body }
  }

  /** A body as it comes, for what is not JSON. */
  async download(path: string, query?: Query): Promise<ReadableStream<Uint8Array>> {
    const response = await this.open('GET', path, { query })
    if (!response.ok) throw await problemOf(response)
    if (!response.body) throw failed(`${response.url} answered with nothing.`)
    return response.body
  }

  private async open(method: Method, path: string, options: CallOptions = {}): Promise<Response> {
    const { place } = this
    const headers = new Headers({ accept: 'application/json' })
    if (options.body !== undefined) headers.set('content-type', 'application/json')
    if (place.kind === 'url') headers.set('authorization', `Bearer ${place.apiKey}`)
    else headers.set('x-portcullis-actor', `local:${process.getuid?.() ?? 'unknown'}`)

    const base = place.kind === 'url' ? place.base : 'http://localhost'
    const init: BunFetchRequestInit & { timeout?: false } = {
      method,
      headers,
      // A redirect would take the API key along to wherever it points.
      redirect: 'manual',
      // Verifying a long audit trail takes longer than Bun's default of five minutes.
      timeout: false,
    }
    if (options.body !== undefined) init.body = JSON.stringify(options.body)
    if (place.kind === 'socket') init.unix = place.path
    if (options.timeoutMs !== undefined) init.signal = AbortSignal.timeout(options.timeoutMs)

    const response = await fetch(`${base}/api/v1${path}${searchOf(options.query)}`, init).catch((error: unknown) => {
      const where = place.kind === 'url' ? place.base : place.path
      throw nothingAnswers([`${where} (${systemCode(error) ?? messageOf(error)})`])
    })
    if (response.status >= 300 && response.status < 400) {
      throw failed(`${base} redirects to ${response.headers.get('location')}; give the final address with --url.`)
    }
    return response
  }
}
