import { expect, test } from 'bun:test'
import { expectShown, mayRunGuides, runGuide } from '../support/guide.ts'
import { HELPERS } from './world.ts'

/** A stream through each node's gate, by the gate's port. */
const BEFORE = `${HELPERS}
upstream 3001
stream_at() { curl -sN -H "Authorization: Bearer $2" "http://127.0.0.1:$1/s/github/sse" > "$HOME/stream-$1" 2>&1 & echo $! > "$HOME/pid-$1"; until_true grep -q tick "$HOME/stream-$1"; }
code_at() { curl -s -o "$HOME/answer" -w '%{http_code}' -H "Authorization: Bearer $2" "http://127.0.0.1:$1/s/github/hello"; }
node_of() { pgrep -f "portcullis serve --data $1 "; }
end_node() { local id=$(node_of $1); kill -$2 $id; until_true not kill -0 $id; }
without_lease() { portcullis cluster status --json --data a | grep -q '"leaseLeftMs": null'; }
`

const SCENES = {
  'Revoke, and read the receipt': {
    before: 'for port in 7170 7270 7370; do stream_at $port "$secret"; done',
    after: 'for port in 7170 7270 7370; do is_cut $port; is "$(code_at $port "$secret")" 401; done',
  },
  "A node can't be reached": {
    before: `agent=$(portcullis token create "Build agent" --server github --data b --json | field token)
      stream_at 7170 "$agent"; stream_at 7370 "$agent"; end_node c 9`,
    after: 'is_cut 7170; for port in 7170 7270; do is "$(code_at $port "$agent")" 401; done',
  },
  'A node is lost, or wiped': {
    after: 'is "$(code_at 7370 "$agent")" 401; for node in a b; do portcullis backup $node.backup --data $node; done',
  },
  'Remove a node': {
    before: `live=$(portcullis token create Live --server github --data a --json | field token); stream_at 7370 "$live"`,
    after: 'is "$(code_at 7370 "$live")" 503; until_true gone 7370; is "$(code_at 7170 "$live")" 200',
  },
  "One that can't be reached": { before: 'until_true without_lease; end_node b 9' },
  'A node is stolen': { after: 'is "$(code_at 7170 "$live")" 401' },
  'All nodes are lost': {
    before: 'end_node a TERM; end_node c TERM',
    after: `until_true portcullis healthcheck --data restored-b
      for port in 7170 7270; do is "$(code_at $port "$secret")" 401; is "$(code_at $port "$agent")" 401; done
      portcullis cluster status --data restored-a`,
  },
}

test.if(mayRunGuides())(
  'several nodes do as they are told',
  async () => {
    const ran = await runGuide('docs/cluster.md', { before: BEFORE, scenes: SCENES, timeoutMs: 170_000 })
    expectShown(ran)
    expect(ran.length).toBeGreaterThan(10)
  },
  180_000,
)
