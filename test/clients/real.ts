import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where a client runs: an empty home, and a model that refuses everything, so that nobody need sign in. */
export interface Stage {
  home: string
  model: string
}

export interface RealClient {
  /** Of the snippet that it is fed. */
  id: string
  package: string
  version: string
  /** Which of the servers `sessions` (2025-11-25) and `stateless` (2026-07-28) it speaks to. */
  speaks: string[]
  /** Makes it ask its servers for their tools, in a shell. */
  list: string
  env?: (stage: Stage) => Record<string, string>
  before?: (stage: Stage) => void
  after?: (stage: Stage) => void
}

const put = (home: string, path: string, text: string): void => {
  const file = join(home, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
}

/** Codex lists tools to the editors that embed it: JSON-RPC over its own stdin. */
const CODEX_ASKS = [
  { id: 0, method: 'initialize', params: { clientInfo: { name: 'test', title: 'test', version: '1.0.0' } } },
  { method: 'initialized' },
  { id: 1, method: 'mcpServerStatus/list', params: {} },
]
  .map((message) => `printf '%s\\n' '${JSON.stringify(message)}'`)
  .join('; ')

/** The clients from npm that run without a display. One more is an entry more. */
export const REAL_CLIENTS: RealClient[] = [
  {
    id: 'claude-code',
    package: '@anthropic-ai/claude-code',
    version: '2.1.329',
    speaks: ['sessions', 'stateless'],
    list: 'claude mcp list',
    env: () => ({ CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' }),
  },
  {
    id: 'codex',
    package: '@openai/codex',
    version: '0.169.0',
    speaks: ['sessions'],
    // It ends when its stdin does; it is done when it has answered the second question.
    list: `rm -f done; mkfifo done; { ${CODEX_ASKS}; read -r _ < done; } | codex app-server | { grep -m 1 '"id":1,'; echo > done; }`,
  },
  {
    id: 'gemini-cli',
    package: '@google/gemini-cli',
    version: '0.61.0',
    speaks: ['sessions'],
    list: 'gemini mcp list; gemini --prompt hello',
    before: ({ home }) =>
      put(home, '.gemini/settings.json', JSON.stringify({ security: { auth: { selectedType: 'gemini-api-key' } } })),
    env: ({ model }) => ({ GEMINI_API_KEY: 'none', GOOGLE_GEMINI_BASE_URL: model, GEMINI_CLI_TRUST_WORKSPACE: 'true' }),
  },
  {
    id: 'opencode',
    package: 'opencode-ai',
    version: '1.18.33',
    speaks: ['sessions'],
    list: 'opencode mcp list',
    env: () => ({ OPENCODE_DISABLE_AUTOUPDATE: '1' }),
  },
  {
    id: 'continue',
    package: '@continuedev/cli',
    version: '1.5.47',
    speaks: ['sessions'],
    list: 'cn --print hello',
    env: () => ({ CONTINUE_TELEMETRY_ENABLED: '0' }),
    after: ({ home, model }) =>
      appendFileSync(
        join(home, '.continue/config.yaml'),
        `\nmodels:\n  - {name: none, provider: openai, model: none, apiKey: none, apiBase: "${model}/v1"}\n`,
      ),
  },
  {
    id: 'cline',
    package: 'cline',
    version: '3.0.65',
    speaks: ['sessions'],
    list: 'cline --provider openai --key none --model none --retries 1 --timeout 10 "say hello"',
  },
  {
    id: 'copilot-cli',
    package: '@github/copilot',
    version: '1.0.102',
    speaks: ['sessions', 'stateless'],
    list: 'copilot --prompt hello --allow-all-tools',
    env: ({ model }) => ({
      COPILOT_OFFLINE: 'true',
      COPILOT_PROVIDER_BASE_URL: `${model}/v1`,
      COPILOT_PROVIDER_API_KEY: 'none',
      COPILOT_MODEL: 'none',
    }),
  },
]
