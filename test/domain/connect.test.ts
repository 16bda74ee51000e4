import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { CLIENT_IDS, PLACEHOLDER, type Reachable, type Snippet, snippetsFor } from '../../src/connect.ts'
import { generateSecret, SECRET_SHAPE } from '../../src/secret.ts'
import { serverName, serverPath } from '../../src/upstream.ts'

const SECRET = generateSecret('pcl_')
const GATE = 'https://gate.example.com'

/** What a client gets to know of one server, once it has read its snippet. */
type Told = { label: string; url: string; authorization: string; sse: boolean | null }
type Headers = { Authorization: string }
type Json = Record<string, Record<string, never>>

const inJson = <T>(text: string, key: string) =>
  Object.entries((JSON.parse(text) as Record<string, object>)[key] as Json) as unknown as [string, T][]

/** The arguments of every command in a script, as the programs that it starts are given them. */
const commandsIn = (text: string): string[][] => {
  const programs = ['claude', 'gemini', 'copilot', 'npx', 'curl']
  const shims = programs.map((name) => `${name}() { printf '%s\\0' ${name} "$@"; printf '\\n\\0'; }`).join('\n')
  const { exitCode, stdout, stderr } = Bun.spawnSync(['sh', '-eu', '-c', `${shims}\n${text}`], { env: {} })
  expect([exitCode, stderr.toString()]).toEqual([0, ''])
  return stdout
    .toString()
    .split('\0\n\0')
    .slice(0, -1)
    .map((command) => command.split('\0'))
}
const optionOf = (command: string[], name: string): string => command[command.indexOf(name) + 1] ?? ''
const fromCommand =
  (label: (command: string[]) => string, url: (command: string[]) => string) =>
  (text: string): Told[] =>
    commandsIn(text).map((command) => ({
      label: label(command),
      url: url(command),
      authorization: optionOf(command, '--header').replace(/^Authorization: /, ''),
      sse: command.includes('--transport') ? optionOf(command, '--transport') === 'sse' : null,
    }))
const secondLast = (command: string[]) => command.at(-2) ?? ''
const last = (command: string[]) => command.at(-1) ?? ''

const fromJson =
  (key: string, urlField = 'url', sseType: string | null = null) =>
  (text: string): Told[] =>
    inJson<Record<string, string> & { headers: Headers }>(text, key).map(([label, server]) => ({
      label,
      url: server[urlField] as string,
      authorization: server.headers.Authorization,
      sse: sseType === null ? null : server['type'] === sseType,
    }))

/** Each client's grammar, as its documentation has it, and not as our table writes it. */
const READ: Record<string, (text: string) => Told[]> = {
  cursor: fromJson('mcpServers'),
  vscode: fromJson('servers', 'url', 'sse'),
  'claude-code': (text) => {
    for (const command of commandsIn(text))
      expect(command.slice(0, 5)).toEqual(['claude', 'mcp', 'add', '--scope', 'user'])
    return fromCommand(
      (command) => command[7] ?? '',
      (command) => command[8] ?? '',
    )(text)
  },
  'claude-desktop': (text) =>
    inJson<{ command: string; args: string[]; env: Record<string, string> }>(text, 'mcpServers').map(
      ([label, server]) => {
        expect([server.command, ...server.args.slice(0, 2)]).toEqual(['npx', '-y', 'mcp-remote'])
        // Claude Desktop on Windows breaks arguments at spaces.
        expect(server.args.join('')).not.toContain(' ')
        const [name = '', variable = ''] = optionOf(server.args, '--header').split(':')
        expect(name).toBe('Authorization')
        const authorization = server.env[variable.slice(2, -1)] ?? ''
        const sse = optionOf(server.args, '--transport') === 'sse-only'
        return { label, url: server.args[2] ?? '', authorization, sse }
      },
    ),
  codex: (text) => {
    const { mcp_servers: servers } = Bun.TOML.parse(text) as {
      mcp_servers: Record<string, { url: string; http_headers: Headers }>
    }
    return Object.entries(servers).map(
      ([
        label,
        {
          url,
          http_headers: { Authorization: authorization },
        },
      ]) => ({ label, url, authorization, sse: null }),
    )
  },
  'gemini-cli': fromCommand(secondLast, last),
  opencode: fromJson('mcp'),
  continue: (text) => {
    type Server = { name: string; type: string; url: string; requestOptions: { headers: Headers } }
    const { schema, mcpServers } = Bun.YAML.parse(text) as { schema: string; mcpServers: Server[] }
    expect(schema).toBe('v1')
    return mcpServers.map(({ name, type, url, requestOptions }) => {
      expect(type).toBeOneOf(['sse', 'streamable-http'])
      return { label: name, url, authorization: requestOptions.headers.Authorization, sse: type === 'sse' }
    })
  },
  cline: fromJson('mcpServers', 'url', 'sse'),
  windsurf: fromJson('mcpServers', 'serverUrl'),
  zed: fromJson('context_servers'),
  goose: (text) => {
    type Extension = { enabled: boolean; type: string; name: string; uri: string; headers: Headers }
    const { extensions } = Bun.YAML.parse(text) as { extensions: Record<string, Extension> }
    return Object.entries(extensions).map(([label, { enabled, type, name, uri, headers }]) => {
      expect([enabled, type, name]).toEqual([true, 'streamable_http', label])
      return { label, url: uri, authorization: headers.Authorization, sse: null }
    })
  },
  'copilot-cli': fromCommand(secondLast, last),
  inspector: fromCommand(
    (command) => new URL(command[4] ?? '').pathname.split('/')[2] ?? '',
    (command) => command[4] ?? '',
  ),
  'openai-python': (text) => [
    ...fromSdk(text, /^(\w+) = OpenAI\(base_url=(".*"), api_key=(".*")\)$/gm),
    ...toolsIn(text, 'mcp_tools'),
  ],
  'openai-node': (text) => {
    expect(() => new Bun.Transpiler().scan(text)).not.toThrow()
    return [
      ...fromSdk(text, /^const (\w+) = new OpenAI\(\{ baseURL: (".*"), apiKey: (".*") \}\)$/gm),
      ...toolsIn(text, 'const mcpTools'),
    ]
  },
  curl: fromCommand((command) => new URL(last(command)).pathname.split('/')[2] ?? '', last),
}
const fromSdk = (text: string, pattern: RegExp): Told[] =>
  [...text.matchAll(pattern)].map(([, label = '', url = '', key = '']) => ({
    label,
    url: JSON.parse(url) as string,
    authorization: `Bearer ${JSON.parse(key)}`,
    sse: null,
  }))

/** `tools` of the Responses API, written so that both languages read them. */
const toolsIn = (text: string, name: string): Told[] => {
  const lines = text.includes(`${name} = [\n`) ? (text.split(`${name} = [\n`)[1] ?? '').split('\n]')[0] : null
  if (!lines) return []
  const tools = JSON.parse(`[${lines.replace(/,$/, '')}]`) as Record<string, string>[]
  return tools.map(({ type, server_label: label = '', server_url: url = '', authorization }) => {
    expect(type).toBe('mcp')
    return { label, url, authorization: `Bearer ${authorization}`, sse: null }
  })
}

const ANY = ['openai-python', 'openai-node', 'curl']
const HTTP_ONLY = ['codex', 'zed', 'goose']
const usable = (client: string, { kind, transport }: Reachable): boolean =>
  (ANY.includes(client) || kind !== 'http') && !(HTTP_ONLY.includes(client) && transport === 'sse')

const at = (name: string, extra: Partial<Reachable> = {}): Reachable => ({
  name: serverName(name),
  url: `${GATE}/s/${name}/mcp`,
  kind: 'mcp',
  transport: 'http',
  ...extra,
})
const authorizationOf = (client: string) => `Bearer ${client === 'vscode' ? '${input:portcullis-token}' : SECRET}`
const linkConfig = (url: string): { name: string; url: string; headers: Headers; inputs?: { id: string }[] } => {
  if (!url.startsWith('cursor:')) {
    expect(url).toStartWith('vscode:mcp/install?')
    // VS Code decodes it when it parses the link, and once more by itself.
    return JSON.parse(decodeURIComponent(decodeURIComponent(url.slice('vscode:mcp/install?'.length))))
  }
  const { host, pathname, searchParams } = new URL(url)
  expect(host + pathname).toBe('anysphere.cursor-deeplink/mcp/install')
  return { name: searchParams.get('name'), ...JSON.parse(atob(searchParams.get('config') ?? '')) }
}

const expectRight = (servers: Reachable[], snippets: Record<string, Snippet>) => {
  for (const client of CLIENT_IDS) {
    const expected = servers.filter((server) => usable(client, server))
    const snippet = snippets[client]
    if (!snippet) {
      expect([client, expected]).toEqual([client, []])
      continue
    }
    const told = READ[client]?.(snippet.text) ?? []
    const facts = (all: { url: string }[]) => all.map(({ url }) => url).toSorted()
    expect([client, facts(told)]).toEqual([client, facts(expected)])
    expect(new Set(told.map(({ label }) => label)).size).toBe(told.length)
    for (const { label, url, authorization, sse } of told) {
      if (client !== 'inspector' && client !== 'curl') expect(label).toMatch(/^[a-z0-9][a-z0-9_-]*$/)
      expect(authorization).toBe(authorizationOf(client))
      if (sse !== null) expect(sse).toBe(expected.find((server) => server.url === url)?.transport === 'sse')
    }
    expect(snippet.text.split(SECRET).length - 1).toBe(client === 'vscode' ? 0 : expected.length)
    expect(snippet.note ?? '').not.toMatch(SECRET_SHAPE)
    if (client !== 'cursor' && client !== 'vscode') expect(snippet.links).toEqual([])
    else expect(snippet.links.map(({ server }) => server)).toEqual(expected.map(({ name }) => name))
    for (const link of snippet.links) {
      const config = linkConfig(link.url)
      const { label } = told.find(({ url }) => url === config.url) as Told
      expect([config.name, link.server]).toEqual([
        label,
        expected.find(({ url }) => url === config.url)?.name as string,
      ])
      expect(config.headers.Authorization).toMatch(/^Bearer \$\{(?:env:PORTCULLIS_TOKEN|input:portcullis-token)\}$/)
      if (client === 'vscode') expect(config.inputs?.map(({ id }) => id)).toEqual(['portcullis-token'])
      expect(link.url + JSON.stringify(config)).not.toMatch(SECRET_SHAPE)
    }
  }
}

test('the table and this test know the same clients', () => {
  expect([...CLIENT_IDS].toSorted()).toEqual(Object.keys(READ).toSorted())
})

test("any servers, in every client: each is told of, with the credential, in the client's grammar", () => {
  const awkward = [
    'null',
    'true',
    '123',
    '1e3',
    '0x1f',
    'on',
    'y',
    'constructor',
    'a.b',
    'a-b',
    'a_b',
    'a-b-2',
    'a.-b',
    'x..y',
  ]
  const name = fc.oneof(fc.constantFrom(...awkward), fc.stringMatching(/^[a-z0-9]([a-z0-9._-]{0,12}[a-z0-9])?$/))
  const path = fc.oneof(
    fc.constantFrom('', '/mcp', '/sse', "/it's", '/$(id)/`id`/', '/a&b;c', '/%20%2F', '/$HOME', '/!!'),
    fc.stringMatching(/^\/[A-Za-z0-9._~!$&'()*+,;=:@%-]{0,20}$/),
  )
  const server = fc.record({
    name,
    path,
    kind: fc.constantFrom('auto' as const, 'mcp' as const, 'http' as const),
    transport: fc.constantFrom('http' as const, 'sse' as const),
  })
  const some = fc.uniqueArray(server, { selector: (one) => one.name, maxLength: 6 })
  fc.assert(
    fc.property(some, (drawn) => {
      const servers = drawn.flatMap((one): Reachable[] => {
        // What the domain refuses as a path is never shown to people.
        if (/\/\.\.(?:\/|$)|[`]/.test(one.path)) return []
        return [{ ...one, url: `${GATE}/s/${serverName(one.name)}${serverPath(one.path)}` }]
      })
      const snippets = snippetsFor(servers, SECRET)
      expectRight(servers, snippets)
      for (const [client, { text }] of Object.entries(snippetsFor(servers, PLACEHOLDER))) {
        expect(text).not.toMatch(SECRET_SHAPE)
        expect(text.replaceAll(PLACEHOLDER, SECRET)).toBe(snippets[client]?.text as string)
      }
    }),
    { numRuns: 60 },
  )
})

test('as many servers as a token may have', () => {
  const servers = Array.from({ length: 100 }, (_, index) => at(`server.${index}`, { kind: 'auto' }))
  const snippets = snippetsFor(servers, SECRET)
  expect(Object.keys(snippets)).toEqual([...CLIENT_IDS])
  expectRight(servers, snippets)
})

test('no servers, no snippets', () => {
  expect(snippetsFor([], SECRET)).toEqual({})
})

test('a client is not told of what it cannot call', () => {
  const mcp = snippetsFor([at('tools')], SECRET)
  expect(Object.keys(mcp)).toEqual([...CLIENT_IDS])
  expect(Object.keys(snippetsFor([at('llm', { kind: 'http' })], SECRET))).toEqual(ANY)
  const old = at('old', { url: `${GATE}/s/old/sse`, transport: 'sse' })
  for (const id of HTTP_ONLY) {
    expect(snippetsFor([old], SECRET)[id]).toBeUndefined()
    const both = snippetsFor([at('tools'), old], SECRET)[id]
    expect(both?.text).not.toContain('/s/old')
    expect(both?.note).toContain('Without old')
    expect(mcp[id]?.note ?? '').not.toContain('Without')
  }
})

describe('names', () => {
  const labels = (...names: string[]) =>
    Object.keys(
      JSON.parse(
        snippetsFor(
          names.map((name) => at(name)),
          SECRET,
        )['cursor']?.text ?? '',
      ).mcpServers,
    )

  test('dots become dashes, and names stay different', () => {
    expect(labels('a.b', 'a-b', 'a..b', 'a.b-2')).toEqual(['a-b-2', 'a-b', 'a--b', 'a-b-2-2'])
    expect(labels('plain')).toEqual(['plain'])
  })

  test('of variables: other words than those of the language, and different ones', () => {
    const text = snippetsFor(
      ['class', '1', 'a-b', 'a_b'].map((name) => at(name, { kind: 'http' })),
      SECRET,
    )['openai-python']?.text
    expect(text?.match(/^client_\w+/gm)).toEqual(['client_class', 'client_1', 'client_a_b_2', 'client_a_b'])
  })
})

test('mcp-remote is told to use plain HTTP only where it would refuse it', () => {
  const args = (url: string) =>
    inJson<{ args: string[] }>(
      snippetsFor([at('x', { url })], SECRET)['claude-desktop']?.text ?? '',
      'mcpServers',
    )[0]?.[1].args
  expect(args('http://10.0.0.1:7070/s/x')).toContain('--allow-http')
  expect(args('http://[::1]:7070/s/x')).toContain('--allow-http')
  for (const url of ['http://127.0.0.1:7070/s/x', 'http://localhost/s/x', `${GATE}/s/x`])
    expect(args(url)).not.toContain('--allow-http')
})
