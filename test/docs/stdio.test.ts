import { beforeAll, expect, test } from 'bun:test'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { mcpProgram } from '../support/mcp-program.ts'
import { HELPERS } from './world.ts'

const here = mayRunGuides()
let program: string
beforeAll(async () => {
  if (here) program = await mcpProgram()
}, 60_000)

/** What fetches servers from elsewhere, or is installed on the reader's machine, is one server here. */
const PROGRAMS = ['npx', 'uvx', 'docker', 'notes-server', 'mcp-server-filesystem']

/** A shell sees the machine's own /usr/local/bin and /srv no more; a sandbox shows these. */
const before = () => `${HELPERS}
mount -t tmpfs tmpfs /usr/local/bin; mount -t tmpfs tmpfs /srv
mkdir /srv/files /srv/notes
cp ${program} /usr/local/bin/mcp
for name in ${PROGRAMS.join(' ')}; do
  printf '#!/bin/sh\\necho "$@" > words; env > variables; exec /usr/local/bin/mcp\\n' > /usr/local/bin/$name
  chmod +x /usr/local/bin/$name
done
export PATH="$PATH:/usr/local/bin"
node
printf 'ghp_of_the_file\\n' > github-token.txt
folder() { echo ~/.local/state/portcullis/stdio/$(portcullis server show "$1" --json | field id); }
none_run() { ! pgrep -x mcp; }
initialize() { curl -s -m 10 -D "$HOME/head" -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \\
  -H 'Accept: application/json, text/event-stream' "http://127.0.0.1:7070/s/$2" \\
  -d '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"reader","version":"1"}}}'; }
`

test.if(here)(
  'servers that are commands: the page goes as it is told',
  async () => {
    const ran = await runGuide('docs/stdio.md', {
      before: before(),
      scenes: {
        'Add one': {
          after: `token=$(grep -o 'pcl_[0-9A-Za-z]*' "$printed" | head -n 1)
          grep -q '^-y @modelcontextprotocol/server-filesystem /srv/files$' $(folder files)/words
          initialize "$token" files | grep -q '"protocolVersion":"2025-11-25"'; grep -qi '^mcp-session-id' "$HOME/head"
          portcullis connections | grep -q ' process '
          portcullis revoke "Cursor IDE" --reason other
          is "$(initialize "$token" files | field nothing; head -n 1 "$HOME/head" | cut -d ' ' -f 2)" 401
          until_true none_run`,
        },
        "From a client's configuration": {
          after: `grep -q '^GITHUB_PERSONAL_ACCESS_TOKEN=ghp_of_the_file$' $(folder github)/variables
          is "$(cut -d = -f 1 $(folder github)/variables | grep -vx -e PWD -e _ -e SHLVL -e OLDPWD | sort | tr '\\n' ' ')" "GITHUB_PERSONAL_ACCESS_TOKEN HOME PATH "
          grep -q '^--root /srv/notes$' $(folder notes)/words`,
        },
        'The sandbox': {
          after: `portcullis server show safe | grep -q '^Health: *reachable'
          grep -q '^/srv/files /srv/notes$' $(folder safe)/words`,
        },
        'When it crashes': {
          after: `portcullis doctor --json > doctor.json || :; grep -q 'broken: ' doctor.json; not grep -q 'safe: ' doctor.json`,
        },
      },
      after: `portcullis audit --action server.add; cat ~/serve.log
      kill -TERM $node_pid; wait $node_pid || :; none_run`,
      timeoutMs: 100_000,
    })
    expectShown(ran)
    const left = ran.at(-1)?.stdout
    expect(left).toContain('ghcr.io/github/github-mcp-server')
    expect(left).not.toContain('ghp_of_the_file')
    expect(left).toContain('no licence found')
  },
  120_000,
)
