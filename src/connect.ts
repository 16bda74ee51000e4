import type { UpstreamKind } from './upstream.ts'

/** What stands where the secret belongs, when it is not shown. */
export const PLACEHOLDER = 'PASTE_TOKEN_HERE'

/** The variable that an install link names: a link ends up in histories, so it never holds a secret. */
const VARIABLE = 'PORTCULLIS_TOKEN'
const INPUT = 'portcullis-token'

/** A server as a client reaches it through the gate. */
export interface Reachable {
  name: string
  /** The URL shown to people. */
  url: string
  kind: UpstreamKind
  /** Clients that don't find out by themselves are told: `sse` is MCP's HTTP+SSE of 2024-11-05. */
  transport: 'http' | 'sse'
}

/** What a person pastes so that a client reaches the servers of a token. */
export interface Snippet {
  title: string
  /** Typed in a shell, put in a file, or made part of a program. */
  kind: 'command' | 'file' | 'code'
  file: string | null
  language: 'sh' | 'json' | 'toml' | 'yaml' | 'python' | 'javascript'
  text: string
  note: string | null
  /** Install links, without any secret. */
  links: { server: string; url: string }[]
}

/** A server under the name that it gets in a client's configuration. */
interface Entry extends Reachable {
  label: string
}

interface Client extends Pick<Snippet, 'title' | 'kind' | 'language'> {
  id: string
  file?: string
  note?: string
  /** Whether it calls MCP servers only, or plain HTTP APIs too. */
  calls: 'mcp' | 'any'
  /** It can't use MCP's HTTP+SSE. */
  httpOnly?: true
  text(entries: Entry[], credential: string): string
  link?(entry: Entry): string
}

const headersWith = (credential: string) => ({ Authorization: `Bearer ${credential}` })

/** JSON with one entry a server under `key`. */
const json = (key: string, entries: Entry[], one: (entry: Entry) => unknown, rest: Record<string, unknown> = {}) =>
  JSON.stringify({ ...rest, [key]: Object.fromEntries(entries.map((entry) => [entry.label, one(entry)])) }, null, 2)

// A JSON string is also a double-quoted string of YAML, TOML, Python and JavaScript, as long as it is ASCII; URLs are.
const quoted = (text: string): string => JSON.stringify(text)

/** One word of a command line; the quotes mean the same to PowerShell unless the text holds one itself. */
const word = (text: string): string =>
  /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`

/** Double quotes, since these are quotes in every shell, cmd.exe included; no credential holds what they let through. */
const headerOption = (credential: string): string => `--header "Authorization: Bearer ${credential}"`

const commands = (entries: Entry[], one: (entry: Entry) => string): string => entries.map(one).join('\n')

/** `mcp-remote` sends nothing over plain HTTP to other machines unless told to. */
const mcpRemoteOptions = ({ url, transport }: Entry): string[] => {
  const { protocol, hostname } = new URL(url)
  const plain = protocol === 'http:' && hostname !== '127.0.0.1' && hostname !== 'localhost'
  return [...(plain ? ['--allow-http'] : []), ...(transport === 'sse' ? ['--transport', 'sse-only'] : [])]
}

/** VS Code decodes an install link twice, so no percent sign may be left in it after the first time. */
const vscodeLink = (config: unknown): string =>
  `vscode:mcp/install?${encodeURIComponent(JSON.stringify(config).replaceAll('%', String.raw`\u0025`))}`
const vscodeEntry = ({ url, transport }: Entry) => ({
  type: transport,
  url,
  headers: headersWith(`\${input:${INPUT}}`),
})
const VSCODE_INPUTS = [{ type: 'promptString', id: INPUT, description: 'Portcullis token', password: true }]

/** A name for the SDK's client of each server: no keyword of a language begins so. */
const sdkClients = (all: Entry[]): [name: string, url: string][] => {
  const entries = all.filter(({ kind }) => kind !== 'mcp')
  const names = replaced(
    entries.map(({ label }) => label),
    '-',
    '_',
  )
  return entries.map(({ url }, index) => [`client_${names[index]}`, url])
}

/** MCP servers as tools of the Responses API: the same text is a literal of Python and of JavaScript. */
const sdkTools = (name: string, entries: Entry[], credential: string): string[] => {
  const tools = entries.filter(({ kind }) => kind === 'mcp')
  if (tools.length === 0) return []
  const lines = tools.map(
    ({ label, url }) =>
      `  {"type": "mcp", "server_label": ${quoted(label)}, "server_url": ${quoted(url)}, "authorization": ${quoted(credential)}},`,
  )
  return [`${name} = [`, ...lines, ']']
}

const SDK_NOTE =
  'A base URL ends where /chat/completions begins; `--path /v1` of the server completes it. MCP servers are given as ' +
  '`tools` of `responses.create`; OpenAI calls them from its cloud, so the gate must be reachable from there.'

const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'curl', version: '1' } },
})

/** What makes an MCP server answer; anything else is answered, or streams, by itself. */
const curlMessage = ({ kind, transport }: Entry): string =>
  kind === 'mcp' && transport === 'http'
    ? '--header "Content-Type: application/json" --header "Accept: application/json, text/event-stream" ' +
      `--data ${word(INITIALIZE)} `
    : ''

/** The one table: a client more is an entry more. */
const CLIENTS: readonly Client[] = [
  {
    id: 'cursor',
    title: 'Cursor',
    calls: 'mcp',
    kind: 'file',
    file: '~/.cursor/mcp.json',
    language: 'json',
    note: `The install links take the token from ${VARIABLE} in the environment that Cursor is started in.`,
    text: (entries, credential) =>
      json('mcpServers', entries, ({ url }) => ({ url, headers: headersWith(credential) })),
    link: ({ label, url }) => {
      const config = JSON.stringify({ url, headers: headersWith(`\${env:${VARIABLE}}`) })
      const query = `name=${encodeURIComponent(label)}&config=${encodeURIComponent(btoa(config))}`
      return `cursor://anysphere.cursor-deeplink/mcp/install?${query}`
    },
  },
  {
    id: 'vscode',
    title: 'VS Code',
    calls: 'mcp',
    kind: 'file',
    file: '.vscode/mcp.json',
    language: 'json',
    note: 'VS Code asks for the token when it first connects, and keeps it itself: the file may be committed.',
    text: (entries) => json('servers', entries, vscodeEntry, { inputs: VSCODE_INPUTS }),
    link: (entry) => vscodeLink({ name: entry.label, ...vscodeEntry(entry), inputs: VSCODE_INPUTS }),
  },
  {
    id: 'claude-code',
    title: 'Claude Code',
    calls: 'mcp',
    kind: 'command',
    language: 'sh',
    text: (entries, credential) =>
      commands(
        entries,
        ({ label, url, transport }) =>
          `claude mcp add --scope user --transport ${transport} ${label} ${word(url)} ${headerOption(credential)}`,
      ),
  },
  {
    id: 'claude-desktop',
    title: 'Claude Desktop',
    calls: 'mcp',
    kind: 'file',
    file: '~/Library/Application Support/Claude/claude_desktop_config.json',
    language: 'json',
    note:
      'It goes through mcp-remote, which needs Node. ' +
      String.raw`On Windows the file is %APPDATA%\Claude\claude_desktop_config.json.`,
    // Claude Desktop on Windows breaks arguments at spaces, so the value with the space stands in the environment.
    text: (entries, credential) =>
      json('mcpServers', entries, (entry) => ({
        command: 'npx',
        args: ['-y', 'mcp-remote', entry.url, ...mcpRemoteOptions(entry), '--header', 'Authorization:${AUTHORIZATION}'],
        env: { AUTHORIZATION: `Bearer ${credential}` },
      })),
  },
  {
    id: 'codex',
    title: 'Codex',
    calls: 'mcp',
    httpOnly: true,
    kind: 'file',
    file: '~/.codex/config.toml',
    language: 'toml',
    text: (entries, credential) =>
      entries
        .map(
          ({ label, url }) =>
            `[mcp_servers.${label}]\nurl = ${quoted(url)}\n` +
            `http_headers = { Authorization = ${quoted(`Bearer ${credential}`)} }`,
        )
        .join('\n\n'),
  },
  {
    id: 'gemini-cli',
    title: 'Gemini CLI',
    calls: 'mcp',
    kind: 'command',
    language: 'sh',
    text: (entries, credential) =>
      commands(
        entries,
        ({ label, url, transport }) =>
          `gemini mcp add --scope user --transport ${transport} ${headerOption(credential)} ${label} ${word(url)}`,
      ),
  },
  {
    id: 'opencode',
    title: 'OpenCode',
    calls: 'mcp',
    kind: 'file',
    file: '~/.config/opencode/opencode.json',
    language: 'json',
    text: (entries, credential) =>
      json(
        'mcp',
        entries,
        ({ url }) => ({
          type: 'remote',
          url,
          enabled: true,
          // Else OpenCode takes a refused token to /.well-known/* and /register, in search of a way to sign in.
          oauth: false,
          headers: headersWith(credential),
        }),
        { $schema: 'https://opencode.ai/config.json' },
      ),
  },
  {
    id: 'continue',
    title: 'Continue',
    calls: 'mcp',
    kind: 'file',
    file: '~/.continue/config.yaml',
    language: 'yaml',
    text: (entries, credential) =>
      [
        'name: Portcullis',
        'version: 0.0.1',
        'schema: v1',
        'mcpServers:',
        ...entries.flatMap(({ label, url, transport }) => [
          `  - name: ${quoted(label)}`,
          `    type: ${transport === 'sse' ? 'sse' : 'streamable-http'}`,
          `    url: ${quoted(url)}`,
          '    requestOptions:',
          '      headers:',
          `        Authorization: ${quoted(`Bearer ${credential}`)}`,
        ]),
      ].join('\n'),
  },
  {
    id: 'cline',
    title: 'Cline',
    calls: 'mcp',
    kind: 'file',
    file: '~/.cline/data/settings/cline_mcp_settings.json',
    language: 'json',
    note: 'In an editor: MCP Servers, Configure, Configure MCP Servers.',
    text: (entries, credential) =>
      json('mcpServers', entries, ({ url, transport }) => ({
        type: transport === 'sse' ? 'sse' : 'streamableHttp',
        url,
        headers: headersWith(credential),
      })),
  },
  {
    id: 'windsurf',
    title: 'Windsurf',
    calls: 'mcp',
    kind: 'file',
    file: '~/.codeium/windsurf/mcp_config.json',
    language: 'json',
    text: (entries, credential) =>
      json('mcpServers', entries, ({ url }) => ({ serverUrl: url, headers: headersWith(credential) })),
  },
  {
    id: 'zed',
    title: 'Zed',
    calls: 'mcp',
    httpOnly: true,
    kind: 'file',
    file: '~/.config/zed/settings.json',
    language: 'json',
    text: (entries, credential) =>
      json('context_servers', entries, ({ url }) => ({ url, headers: headersWith(credential) })),
  },
  {
    id: 'goose',
    title: 'Goose',
    calls: 'mcp',
    httpOnly: true,
    kind: 'file',
    file: '~/.config/goose/config.yaml',
    language: 'yaml',
    text: (entries, credential) =>
      [
        'extensions:',
        ...entries.flatMap(({ label, url }) => [
          `  ${quoted(label)}:`,
          '    enabled: true',
          '    type: streamable_http',
          `    name: ${quoted(label)}`,
          `    uri: ${quoted(url)}`,
          '    headers:',
          `      Authorization: ${quoted(`Bearer ${credential}`)}`,
        ]),
      ].join('\n'),
  },
  {
    id: 'copilot-cli',
    title: 'Copilot CLI',
    calls: 'mcp',
    kind: 'command',
    language: 'sh',
    text: (entries, credential) =>
      commands(
        entries,
        ({ label, url, transport }) =>
          `copilot mcp add --transport ${transport} ${headerOption(credential)} ${label} ${word(url)}`,
      ),
  },
  {
    id: 'inspector',
    title: 'MCP Inspector',
    calls: 'mcp',
    kind: 'command',
    language: 'sh',
    text: (entries, credential) =>
      commands(
        entries,
        ({ url, transport }) =>
          `npx -y @modelcontextprotocol/inspector --cli ${word(url)} --transport ${transport} ` +
          `${headerOption(credential)} --method tools/list`,
      ),
  },
  {
    id: 'openai-python',
    title: 'OpenAI SDK for Python',
    calls: 'any',
    kind: 'code',
    language: 'python',
    note: SDK_NOTE,
    text: (entries, credential) =>
      [
        'from openai import OpenAI',
        '',
        ...sdkClients(entries).map(
          ([name, url]) => `${name} = OpenAI(base_url=${quoted(url)}, api_key=${quoted(credential)})`,
        ),
        ...sdkTools('mcp_tools', entries, credential),
      ].join('\n'),
  },
  {
    id: 'openai-node',
    title: 'OpenAI SDK for Node',
    calls: 'any',
    kind: 'code',
    language: 'javascript',
    note: SDK_NOTE,
    text: (entries, credential) =>
      [
        "import OpenAI from 'openai'",
        '',
        ...sdkClients(entries).map(
          ([name, url]) => `const ${name} = new OpenAI({ baseURL: ${quoted(url)}, apiKey: ${quoted(credential)} })`,
        ),
        ...sdkTools('const mcpTools', entries, credential),
      ].join('\n'),
  },
  {
    id: 'curl',
    title: 'curl',
    calls: 'any',
    kind: 'command',
    language: 'sh',
    text: (entries, credential) =>
      commands(entries, (entry) => `curl -N ${headerOption(credential)} ${curlMessage(entry)}${word(entry.url)}`),
  },
]

export const CLIENT_IDS: readonly string[] = CLIENTS.map(({ id }) => id)

/** The names with a character replaced that is not allowed, and still all different; those without it stay as they are. */
const replaced = (names: string[], character: string, by: string): string[] => {
  const taken = new Set(names.filter((name) => !name.includes(character)))
  return names.map((name) => {
    if (!name.includes(character)) return name
    const base = name.replaceAll(character, by)
    let free = base
    for (let next = 2; taken.has(free); next += 1) free = `${base}${by}${next}`
    taken.add(free)
    return free
  })
}

/** MCP is spoken unless a person said that it is not, and so are plain requests. */
const isCalledBy = (client: Client, { kind }: Reachable): boolean => client.calls === 'any' || kind !== 'http'

const snippetOf = (client: Client, called: Entry[], credential: string): Snippet | null => {
  const entries = called.filter(({ transport }) => !client.httpOnly || transport === 'http')
  if (entries.length === 0) return null
  const { title, kind, file = null, language, link } = client
  const left = called.filter((entry) => !entries.includes(entry)).map(({ name }) => name)
  const leftOut = left.length > 0 ? `Without ${left.join(', ')}: ${title} takes no HTTP+SSE.` : undefined
  return {
    title,
    kind,
    file,
    language,
    text: client.text(entries, credential),
    note: [client.note, leftOut].filter((part) => part !== undefined).join(' ') || null,
    links: link ? entries.map((entry) => ({ server: entry.name, url: link(entry) })) : [],
  }
}

/**
 * What to paste into each client, by its id, so that it reaches these servers; clients that can use none of
 * them are left out. `credential` is the secret, or `PLACEHOLDER`.
 */
export const snippetsFor = (servers: Reachable[], credential: string): Record<string, Snippet> => {
  // Claude Code allows no dot in a name; one name for a server everywhere is easier to talk about.
  const labels = replaced(
    servers.map(({ name }) => name),
    '.',
    '-',
  )
  const entries = servers.map((server, index): Entry => ({ ...server, label: labels[index] as string }))
  return Object.fromEntries(
    CLIENTS.flatMap((client): [string, Snippet][] => {
      const called = entries.filter((entry) => isCalledBy(client, entry))
      const snippet = snippetOf(client, called, credential)
      return snippet ? [[client.id, snippet]] : []
    }),
  )
}
