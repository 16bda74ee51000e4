import { expect, test } from 'bun:test'
import { HELPERS } from '../docs/world.ts'
import { expectShown, runGuide } from '../support/guide.ts'

/** What the reader has: a node with a server and tokens, one of which is dead. */
const BEFORE = `${HELPERS}
upstream 3001
upstream_url=http://127.0.0.1:3001
stop_node() { kill "$(pgrep -x portcullis)"; until_true stopped; }
stopped() { ! pgrep -x portcullis; }
node
portcullis server add github "$upstream_url" --kind http
cursor=$(secret_of "Cursor IDE" --server github)
old=$(secret_of "Old laptop" --server github)
lost=$(secret_of "Lost phone" --server github)`

const SCENES = {
  'Make a backup': { after: 'is "$(stat -c %a portcullis.backup)" 600' },
  'Every night': { after: 'is "$(ls "$HOME/backups" | wc -l)" 1; set +u' },
  Restore: {
    before: `portcullis revoke "Lost phone" --reason lost_device
      since=$(secret_of "Claude Code" --server github)
      stop_node`,
    after: `is_alive "$cursor" github; is_dead "$lost" github; is_dead "$since" github; is_dead "$old" github
      portcullis revoke "Cursor IDE" --reason other
      kept=$(secret_of "Kept" --server github)
      stop_node`,
  },
  'Move to another machine': {
    after: `is "$(stat -c %a portcullis.tar)" 600; not portcullis token ls
      is_alive "$kept" github; is_dead "$cursor" github; is_dead "$lost" github
      portcullis audit --data "$HOME/new-machine" | grep -q node.rename`,
  },
  Keys: {
    after: 'is_alive "$kept" github; is "$(portcullis key ls --json --data "$HOME/new-machine" | grep -c createdAt)" 2',
  },
}

test('backups, restores, a move and new keys go as they are told', async () => {
  const ran = await runGuide('docs/backup.md', { before: BEFORE, scenes: SCENES })
  expectShown(ran)
  expect(ran.length).toBeGreaterThan(8)
})
