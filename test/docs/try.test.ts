import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { readPage } from '../support/markdown.ts'
import { HELPERS } from './world.ts'

/** npx finds the package here, and needs no network for it. */
const BEFORE = `${HELPERS}
ln -s ${join(import.meta.dir, '../../node_modules')} node_modules
stop_node() { kill "$(pgrep -x portcullis)"; until_true stopped; }
stopped() { ! pgrep -x portcullis; }
`

const SCENES = {
  'Cut a stream': {
    before: `grep 'curl -N' "$printed" > curl.sh; . ./curl.sh > stream 2> /dev/null & until_true grep -q 'event: tick' stream`,
    after: `until_true grep -q 'event: disconnect' stream; wait %%; grep -A1 'event: disconnect' stream > farewell
      secret=$(grep -o 'pcl_[0-9A-Za-z]*' curl.sh); is_dead "$secret" demo`,
  },
  'Your own MCP server': {
    before: 'stop_node',
    after: `portcullis token show "Claude Code" | grep -q revoked`,
  },
  'Throw it away, or keep it': { before: 'stop_node' },
}

test.if(mayRunGuides())('ten minutes go as they are told', async () => {
  const ran = await runGuide('docs/try.md', {
    before: BEFORE,
    scenes: SCENES,
    after: 'cat farewell; ls -A .local/state',
  })
  expectShown(ran)
  const farewell = readPage('docs/try.md').fences.find(({ language }) => language === 'text')?.text
  // Nothing is left of the folders.
  expect(ran.at(-1)?.stdout).toBe(`${farewell}\n`)
})
