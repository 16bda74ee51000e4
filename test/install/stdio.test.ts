import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { mcpProgram } from '../support/mcp-program.ts'
import { tempFolder } from '../support/temp.ts'
import { putRelease } from './release.ts'

const here = mayDebootstrap()
let machine: Machine

/** bubblewrap of this machine, with the libraries that it asks for: the same Debian is in there. */
const putBubblewrap = async (root: string) => {
  const bwrap = Bun.which('bwrap')
  if (!bwrap) throw new Error('this test needs bubblewrap')
  const asked = await Bun.$`ldd ${bwrap}`.text()
  for (const [library] of asked.matchAll(/\/\S+\.so\S*/g)) await Bun.$`cp -Ln ${library} ${join(root, library)}`
  copyFileSync(bwrap, join(root, 'usr/bin/bwrap'))
}

beforeAll(async () => {
  if (!here) return
  const shared = tempFolder()
  process.env['TMPDIR'] = shared
  machine = await bootedDebian({ share: shared })
  putRelease(machine.root)
  await putBubblewrap(machine.root)
  copyFileSync(await mcpProgram(), join(machine.root, 'usr/local/bin/mcp'))
  // What is fetched from elsewhere is one server here, which leaves in its folder what it was given.
  for (const name of ['npx', 'mcp-server-filesystem']) {
    const file = join(machine.root, 'usr/local/bin', name)
    writeFileSync(file, '#!/bin/sh\n{ id -un; echo "$HOME"; echo "$@"; } > facts; exec /usr/local/bin/mcp\n')
    chmodSync(file, 0o755)
  }
}, 180_000)
afterAll(() => machine?.[Symbol.asyncDispose]())

const BEFORE = `
printf '127.0.0.1 localhost %s\\n' "$(hostname)" > /etc/hosts
sh /opt/portcullis/install.sh
mkdir -p /srv/files /home/ada/notes /home/ada/private
chmod 755 /home/ada /home/ada/notes; chown portcullis /srv/files
fine() { portcullis server show "$1" | grep -q '^Health: *reachable'; }
facts() { cat /var/lib/portcullis/stdio/"$(portcullis server show "$1" --json | sed -n 's/^  "id": "\\(.*\\)",$/\\1/p')"/facts; }
refused() { portcullis server show "$1" | grep '^Health: *not reachable'; }
`

test.if(here)(
  'commands in the service: each drop-in gives what the page says',
  async () => {
    const ran = await runGuide('docs/stdio-service.md', {
      runner: machine.enter,
      before: BEFORE,
      scenes: {
        'Commands in the service': {
          after: `fine weather; facts weather | grep -qx portcullis; facts weather | grep -q '^/var/lib/portcullis/stdio/'
          portcullis server add early --stdio --sandbox -- mcp-server-filesystem; refused early
          portcullis server add early-user --stdio --user daemon -- mcp-server-filesystem; refused early-user`,
        },
        Folders: {
          after: `fine files
          pid=$(systemctl show -p MainPID --value portcullis)
          nsenter -t $pid -m sh -c 'test -d /home/ada/notes && ! test -e /home/ada/private && touch /srv/files/written'`,
        },
        'A sandbox': { after: 'fine safe; facts safe | grep -q "^/var/lib/portcullis/stdio/"' },
        'Another user': {
          after: `fine apart; head -n 1 /home/mcp/.portcullis/apart/facts | grep -qx mcp
          pid=$(systemctl show -p MainPID --value portcullis); grep -q '^CapEff:.*00000000000000e0$' /proc/$pid/status`,
        },
      },
      after:
        'systemctl show portcullis -p MemoryMax,OOMPolicy,TasksMax; portcullis server show apart; portcullis server show safe',
      timeoutMs: 150_000,
    })
    expectShown(ran)
    const left = ran.at(-1)?.stdout
    expect(left).toContain('MemoryMax=4294967296')
    expect(left).toContain('OOMPolicy=continue')
    expect(left).toContain('TasksMax=8192')
  },
  180_000,
)
