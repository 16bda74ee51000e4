import { cell, code, page, sentence, table } from './markdown.ts'

export interface Schema {
  type?: string | string[]
  description?: string
  properties?: Record<string, Schema>
  required?: string[]
  items?: Schema
  anyOf?: Schema[]
  const?: unknown
  enum?: unknown[]
  minimum?: number
  maximum?: number
  patternProperties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
}

interface Content {
  content?: Record<string, { schema?: Schema }>
  description?: string
}

export interface Operation {
  summary?: string
  description?: string
  parameters?: { name: string; in: string; required?: boolean; schema?: Schema }[]
  requestBody?: Content
  responses?: Record<string, Content>
}

export interface OpenApi {
  paths: Record<string, Record<string, Operation>>
}

const alternatives = (schema: Schema): Schema[] => schema.anyOf?.flatMap(alternatives) ?? [schema]

/** The description stands with one of the alternatives when the other is null. */
const descriptionOf = (schema: Schema): string =>
  [schema, ...alternatives(schema)].map(({ description }) => description).find(Boolean) ??
  (schema.items ? descriptionOf(schema.items) : '')

const typeOf = (schema: Schema): string => {
  const names = alternatives(schema).flatMap((one) => {
    const values = one.enum ?? (one.const === undefined ? [] : [one.const])
    if (values.length > 0) return values.map((value) => code(JSON.stringify(value)))
    if (one.type === 'array') return [`list of ${one.items ? typeOf(one.items) : 'anything'}`]
    return one.type ?? ['anything']
  })
  return [...new Set(names)].join(' or ')
}

const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, '')
    .replaceAll(' ', '-')

/** What was shown already, under which heading: objects are long, and the same ones come back. */
type Shown = { heading: string; schema: Schema }[]

const linkTo = (heading: string): string => `as with [${heading}](#${anchorOf(heading)})`

/** Two descriptions of one object, whatever is said of it in that place. */
const isSame = (a: Schema, b: Schema): boolean => JSON.stringify(a.properties) === JSON.stringify(b.properties)

/** Names that say all there is to say. */
const PLAIN = new Set([
  ...[
    'id',
    'name',
    'kind',
    'state',
    'status',
    'role',
    'reason',
    'server',
    'token',
    'method',
    'window',
    'tools',
    'methods',
  ],
  ...[
    'addresses',
    'clients',
    'client',
    'address',
    'subject',
    'connections',
    'timings',
    'host',
    'port',
    'gate',
    'console',
  ],
  ...[
    'health',
    'mcp',
    'policy',
    'deadTries',
    'transport',
    'node',
    'tokens',
    'link',
    'tls',
    'certFile',
    'keyFile',
    'dataFolder',
  ],
  ...['verification', 'revocation', 'peers', 'requests', 'count', 'ms', 'cut', 'probe', 'found', 'trustedProxies'],
])

/** Fields of an object, those of objects in it with a dot, those of lists with brackets. */
const fieldRows = (schema: Schema, shown: Shown, prefix = ''): string[][] =>
  Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const all = alternatives(field)
    const list = all.find(({ type }) => type === 'array')
    const inner = list?.items ?? all.find(({ properties }) => properties)
    const known = inner?.properties && shown.find((one) => isSame(one.schema, inner))
    const words = descriptionOf(field)
    if (words === '' && !known && !PLAIN.has(name)) throw new Error(`${prefix}${name}: give it a description`)
    const optional = schema.required?.includes(name) ? [] : ['optional']
    const told = [...optional, ...(words ? [words] : []), ...(known ? [linkTo(known.heading)] : [])].join('; ')
    const own = [code(prefix + name), typeOf(field), cell(sentence(told))]
    if (!inner?.properties || known) return [own]
    return [own, ...fieldRows(inner, shown, `${prefix}${name}${list ? '[]' : ''}.`)]
  })

const schemaIn = (content: Content | undefined): Schema | undefined => Object.values(content?.content ?? {})[0]?.schema

const fieldTable = (rows: string[][]): string => table(['field', 'type', ''], rows)

/** The fields that come on top of those of another object; null: it lacks some of them. */
const beyond = (schema: Schema, known: Schema): Schema | null => {
  const { properties = {} } = schema
  const has = ([name, field]: [string, Schema]) => JSON.stringify(properties[name]) === JSON.stringify(field)
  if (!Object.entries(known.properties ?? {}).every(has)) return null
  const more = Object.entries(properties).filter(([name]) => !known.properties?.[name])
  return { ...schema, properties: Object.fromEntries(more) }
}

const answerOf = (heading: string, operation: Operation, shown: Shown): string[] => {
  const answers = Object.entries(operation.responses ?? {})
  const [status, answer] = answers.find(([code]) => code.startsWith('2')) ?? []
  const schema = schemaIn(answer)
  if (!status || !schema) return ['Answers without JSON.']
  const others = answers.map(([code]) => code).filter((code) => code !== status)
  const also = others.length > 0 ? ` (or ${others.join(', ')}, with the same fields)` : ''
  const isPage = schema.properties?.['items'] !== undefined && schema.properties['next'] !== undefined
  const item = isPage ? (schema.properties?.['items']?.items ?? schema) : schema
  if (!item.properties) {
    const types = Object.keys(answer?.content ?? {}).join(' or ')
    return [`Answers ${status}${also}: ${descriptionOf(item) || answer?.description} (${types}).`]
  }
  const what = isPage ? `${code('{"items":[…],"next":…}')}, each item` : 'an object'
  for (const known of shown) {
    const more = beyond(item, known.schema)
    if (!more) continue
    const as = `Answers ${status}${also}: ${what} ${linkTo(known.heading)}`
    const rows = fieldRows(more, shown)
    return rows.length === 0 ? [`${as}.`] : [`${as}, and`, fieldTable(rows)]
  }
  const rows = fieldRows(item, shown)
  shown.push({ heading, schema: item })
  return [`Answers ${status}${also}: ${what}:`, fieldTable(rows)]
}

const operationOf = (path: string, method: string, operation: Operation, shown: Shown): string[] => {
  const { summary, description, parameters = [], requestBody } = operation
  const heading = `${method.toUpperCase()} ${path.replace(/^\/api\/v1/, '')}`
  if (!summary || !description)
    throw new Error(`${heading}: its route says nothing of itself; see src/server/api/told.ts`)
  const query = parameters.filter((parameter) => parameter.in === 'query')
  const body = schemaIn(requestBody)
  return [
    `### ${heading}`,
    `${summary}. ${description}`,
    ...(query.length > 0
      ? [
          table(
            ['query', ''],
            query.map(({ name, schema }) => [
              code(name),
              cell(sentence(descriptionOf(schema ?? {}) || typeOf(schema ?? {}))),
            ]),
          ),
        ]
      : []),
    ...(body ? ['Takes:', fieldTable(fieldRows(body, shown))] : []),
    ...answerOf(heading, operation, shown),
  ]
}

export const api = ({ paths }: OpenApi): string => {
  const shown: Shown = []
  const groups = new Map<string, string[]>()
  for (const [path, methods] of Object.entries(paths)) {
    const group = path.split('/')[3] ?? ''
    const sections = Object.entries(methods).flatMap(([method, operation]) =>
      operationOf(path, method, operation, shown),
    )
    groups.set(group, [...(groups.get(group) ?? []), ...sections])
  }
  return page(
    'The API',
    'JSON over HTTP under `/api/v1`, on the console (`http://127.0.0.1:7071`) with an API key as `Authorization: Bearer pca_…`\n' +
      '([make one](commands.md#portcullis-apikey-create)), and on `control.sock` in the data folder without: who may open that is an\n' +
      'owner. `GET /api/v1/openapi.json` describes the same for programs.',
    '- Times are RFC 3339, UTC; names that end in `Ms` are milliseconds. Ids are opaque.\n' +
      '- Lists take `?limit=` and `?after=`, which is the `next` of the page before; `next` is null on the last one.\n' +
      '- What was made is answered with 201 and its `Location`.\n' +
      '- A POST with an `Idempotency-Key` that was seen within a day from the same caller is answered as before, secrets as null;\n' +
      '  with another body it is 422.\n' +
      '- A field that is not named here is refused. Errors are [problem details](errors.md#of-the-console-and-the-api).\n' +
      '- Roles: an `owner` may do all; an `operator` all that needs the role operator or auditor; an `auditor` reads.',
    ...[...groups].flatMap(([group, sections]) => [`## ${group}`, ...sections]),
  )
}
