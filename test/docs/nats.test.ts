import { test } from 'bun:test'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { hasNats } from '../support/nats.ts'
import { HELPERS } from './world.ts'

const BEFORE = `${HELPERS}
hears() { portcullis cluster status --data a | grep '^b  *linked'; }
stored() { curl -sf 'http://127.0.0.1:8222/jsz?streams=true' | grep '"messages": [1-9]'; }
`

const AFTER = `
portcullis server add live http://127.0.0.1:9 --kind http --data a
until_true portcullis server show live --data b
until_true stored
`

test.if(mayRunGuides() && hasNats())(
  'a reader gets two nodes that talk over NATS',
  async () => {
    const ran = await runGuide('docs/nats.md', {
      before: BEFORE,
      scenes: { 'Do they hear each other?': { before: 'until_true hears' } },
      after: AFTER,
    })
    expectShown(ran)
  },
  60_000,
)
