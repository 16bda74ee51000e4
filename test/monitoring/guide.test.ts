import { test } from 'bun:test'
import { HELPERS } from '../docs/world.ts'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { hasPrometheus } from '../support/prometheus.ts'
import { DOCS } from './rules.ts'

const BEFORE = `${HELPERS}
ln -s ${DOCS} docs
node
`

/** Prometheus asks for the first time after a part of its interval that it chooses. */
const SCRAPED = `
is_up() { promtool query instant http://127.0.0.1:9090 portcullis_ready | grep -q '=> 1'; }
for try in $(seq 400); do is_up && break; sleep 0.1; done; is_up
# With the key, and not as somebody on this machine.
portcullis apikey ls | grep -q 'prometheus  *auditor .*s ago'
`

const AFTER = 'is "$(stat -c %a portcullis-api-key)" 600'

test.if(mayRunGuides() && hasPrometheus())(
  'a reader gets Prometheus to see the node',
  async () => {
    const ran = await runGuide('docs/monitoring.md', {
      before: BEFORE,
      scenes: { 'Does it see the node?': { before: SCRAPED } },
      after: AFTER,
    })
    expectShown(ran)
  },
  60_000,
)
