import { afterAll, beforeAll, expect, test } from 'bun:test'
import { join } from 'node:path'
import { bootedDebian, type Machine, mayDebootstrap } from '../support/debian.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { tempFolder } from '../support/temp.ts'
import { putRelease } from './release.ts'

const here = mayDebootstrap()
let machine: Machine
let upstream: Bun.Subprocess<'ignore', 'pipe', 'inherit'>

beforeAll(async () => {
  if (!here) return
  // What the guide's shell is and writes, seen under the same path in there.
  const shared = tempFolder()
  process.env['TMPDIR'] = shared
  machine = await bootedDebian({ share: shared })
  putRelease(machine.root)
  upstream = Bun.spawn([...machine.network, process.execPath, join(import.meta.dir, '../docs/upstream.ts'), '3001'], {
    stdin: 'ignore',
    stdout: 'pipe',
  })
  await upstream.stdout.getReader().read()
}, 180_000)
afterAll(async () => {
  upstream?.kill()
  await machine?.[Symbol.asyncDispose]()
})

test.if(here)('installing goes as it is told, from the first command to the last', async () => {
  const ran = await runGuide('docs/install.md', {
    runner: machine.enter,
    before: 'cd /opt/portcullis; echo "127.0.0.1 localhost $(hostname)" > /etc/hosts',
    scenes: {
      'A port below 1024': { after: 'sleep 0.5; curl -sf http://127.0.0.1/healthz' },
      Upgrade: { after: 'portcullis token ls' },
    },
    after: 'ls /var/lib/portcullis; ls /usr/local/bin; systemctl is-active portcullis || :',
  })
  expectShown(ran)
  const printed = (part: string) => ran.find(({ block }) => block.text.includes(part))?.stdout
  expect(printed('server add')).toContain('pcl_')
  expect(printed('journalctl')).toContain('portcullis is ready')
  expect(printed('journalctl')).not.toMatch(/pcl_|setup\?code/)
  expect(ran.at(-1)?.stdout).toContain('portcullis.db')
  expect(ran.at(-1)?.stdout).toEndWith('inactive\n')
})
