import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { HELPERS } from '../docs/world.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { readPage } from '../support/markdown.ts'
import { factsOf } from '../support/released/released.ts'

const OLD = '0.2.0'
const MAKE = `${process.execPath} ${join(import.meta.dir, '../support/released/released.ts')}`
const facts = factsOf(OLD)
const secretOf = (name: string): string => facts.secrets.find(({ token }) => token === name)?.secret ?? ''
const DATA = '"$HOME/.local/state/portcullis"'

const BEFORE = `${HELPERS}
mkdir -p "$HOME/.local/state"
${MAKE} ${OLD} ${DATA} http://127.0.0.1:3001
upstream 3001
stopped() { ! pgrep -x portcullis; }
stop_node() { kill "$(pgrep -x portcullis)"; until_true stopped; }
`
const SCENES = {
  Look: {
    after: `is_alive ${secretOf('lives')} github; is_dead ${secretOf('revoked by id')} github
      is_dead ${secretOf('revoked while the disk was full')} github
      test -e ${DATA}/portcullis.db.before-0.7.0`,
  },
  'Going back': {
    before: 'portcullis revoke lives --reason lost_device --yes; stop_node',
    after: `is "$(${process.execPath} -e 'import { Database } from "bun:sqlite"
      console.log(new Database(process.argv[1]).query("SELECT value FROM meta WHERE key = ?").get("version").value)' \\
        ${DATA}/portcullis.db)" ${OLD}
      node; is_dead ${secretOf('lives')} github; is_alive ${secretOf('lives under the second key')} github; stop_node`,
  },
}

test('an upgrade and the way back go as they are told', async () => {
  const ran = await runGuide('docs/upgrade.md', { before: BEFORE, scenes: SCENES, after: `ls ${DATA}` })
  expectShown(ran)
  const said = ran.find(({ block }) => block.mode === 'background')?.stderr ?? ''
  const log = readPage('docs/upgrade.md').fences.find(({ language }) => language === 'text')?.text ?? ''
  for (const line of log.split('\n')) expect(said).toContain(`"${line}"`)
  expect(ran.at(-1)?.stdout).not.toContain('before')
  expect(ran.at(-1)?.stdout).toContain('portcullis.db')
})
