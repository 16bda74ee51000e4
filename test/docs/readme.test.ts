import { expect, test } from 'bun:test'
import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { mayRunGuides, runGuide } from '../support/guide.ts'
import { readPage } from '../support/markdown.ts'
import { mcpProgram } from '../support/mcp-program.ts'
import { tempFolder } from '../support/temp.ts'
import { HELPERS } from './world.ts'

const ROOT = join(import.meta.dir, '../..')

/** What the build takes. A checkout of its own: it must not replace the executable that other tests run. */
const SOURCES = ['src', 'drizzle', 'package.json', 'bun.lock', 'bunfig.toml', 'tsconfig.json']

const checkout = (): string => {
  const folder = join(tempFolder(), 'portcullis')
  mkdirSync(folder)
  for (const name of SOURCES) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Where npx would fetch a server from elsewhere, it runs one that is here. */
const before = (server: string): string => `${HELPERS}
upstream 3001
printf 'Bearer ghp_secret' > github-token.txt
mkdir "$HOME/programs"
printf '#!/bin/sh\\ncase "$2" in @model*) echo "$@" > words; exec ${server};; esac\\nexec %s "$@"\\n' "$(command -v npx)" > "$HOME/programs/npx"
chmod +x "$HOME/programs/npx"
export PATH="$HOME/programs:$PATH"
none_run() { ! pgrep -x mcp; }
`

const SCENES = {
  'Try it': {
    // The two commands that it prints, pasted.
    after: `until_true grep -q 'curl -N' "$printed"
      grep 'curl -N' "$printed" > curl.sh; grep -- ' revoke ' "$printed" > revoke.sh
      . ./curl.sh > stream 2> /dev/null & until_true grep -q 'event: tick' stream
      . ./revoke.sh > revoked; until_true grep -q 'event: disconnect' stream; wait %%
      secret=$(grep -o 'pcl_[0-9A-Za-z]*' curl.sh); is_dead "$secret" demo
      kill "$(pgrep -f 'main.ts demo$' | tail -1)"; until_true not curl -sf http://127.0.0.1:7071/healthz`,
  },
  'Run it': { after: 'cat "$printed"; portcullis token show "Cursor IDE" | grep -q revoked' },
  'Servers that are commands': {
    after: `secret=$(grep -o 'pcl_[0-9A-Za-z]*' "$printed" | head -n 1); until_true none_run
      grep -qx -e '-y @modelcontextprotocol/server-filesystem /data' ~/.local/state/portcullis/stdio/srv_*/words
      curl -sN -H "Authorization: Bearer $secret" -H 'Accept: text/event-stream' http://127.0.0.1:7070/s/fs/sse > old-sse &
      until_true grep -q endpoint old-sse; until_true pgrep -x mcp
      portcullis revoke "Claude Code" --reason lost_device; wait %%; grep -q token_revoked old-sse; until_true none_run`,
  },
}

test.if(mayRunGuides())(
  'it can be tried and run as it says',
  async () => {
    const ran = await runGuide('README.md', {
      cwd: checkout(),
      before: before(await mcpProgram()),
      scenes: SCENES,
      after: "grep -A1 'event: disconnect' stream",
      timeoutMs: 110_000,
    })
    const farewell = readPage('README.md').fences.find(({ text }) => text.startsWith('event: disconnect'))?.text
    expect(ran.at(-1)?.stdout.trim()).toBe(farewell as string)
    const created = ran.find(({ block }) => block.text.includes('server add'))
    expect(created?.stdout).toContain('Found:         an MCP server at /mcp')
    expect(created?.stdout).toContain('"Authorization": "Bearer pcl_')
    expect(created?.stdout).toContain('Revoked 1 token (compromised)')
    const command = ran.find(({ block }) => block.text.includes('--stdio'))
    expect(command?.stdout).toMatch(/^Found: +an MCP server: .* over stdio/m)
    expect(command?.stdout).toContain('http://127.0.0.1:7070/s/fs')
    const spread = ran.find(({ block }) => block.text.includes('portcullis cluster status'))
    for (const node of ['a', 'b'])
      expect(spread?.stdout).toMatch(new RegExp(`^node ${node}: acked in .*cut 0 connections$`, 'm'))
    expect(spread?.stdout).toContain('Complete: no node of the cluster lets these tokens in any more.')
  },
  120_000,
)
