import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { FEATURES, tryFeature } from '../../conformance/features.ts'
import { COMMANDS, openRoad } from '../../conformance/stdio-roads.ts'
import type { Door, TalkerName } from '../../conformance/talker.ts'
import { startNode, type TestNode } from '../../support/node.ts'
import { startFeatures } from '../../support/upstreams/features/http.ts'

/** What MCP can do, by real clients: directly, and through the gate to the same server as a command. */

let node: TestNode
let features: ReturnType<typeof startFeatures>
const roads = new Map<string, Door>()

const NOT_ASKED = 'a process of many asks none of them: it was told that its client can not be asked'
const ITS_ONLY_CLIENT = 'its only client is the gate'
const NOBODYS = 'nobody knows whose it is'

/** What a shared process lacks by its nature (of the revisions with a session), and why. */
const SHARED_LACKS: Record<string, string> = {
  sampling: NOT_ASKED,
  'elicitation, accepted and declined': NOT_ASKED,
  roots: NOT_ASKED,
  'a client that refuses: the error reaches the server': NOT_ASKED,
  'a question that the server takes back': NOT_ASKED,
  'three questions at once, each answered to who asked': NOT_ASKED,
  'two clients: each is asked what concerns it': NOT_ASKED,
  'the server knows the client and what it can': ITS_ONLY_CLIENT,
  'roots that change': ITS_ONLY_CLIENT,
  'methods and notifications that MCP does not know': NOBODYS,
  'two clients: each hears its own log messages': NOBODYS,
}

/** Much more than any takes. */
const WITHIN_MS = 15_000
/** For what never comes, or is refused at once. */
const LACKING_MS = 1_500

const eraOf = (over: TalkerName) => (over.includes('SSE') ? 'sse' : over.includes('2026') ? 'stateless' : 'sessions')

beforeAll(async () => {
  node = await startNode()
  features = startFeatures()
  for (const { over } of FEATURES) {
    roads.set(`directly, ${over}`, { url: `${features.url}/mcp`, headers: {} })
    for (const road of ['gate', 'gate, shared'] as const) {
      const opened = await openRoad(road, COMMANDS.features, eraOf(over), node)
      roads.set(`${road}, ${over}`, opened.door)
    }
  }
}, 30_000)
afterAll(async () => {
  await features?.stop()
  await node?.stop()
}, 30_000)

const newShared = async (over: TalkerName) =>
  (await openRoad('gate, shared', COMMANDS.features, eraOf(over), node)).door
const doorOf = (road: string): Door => {
  const door = roads.get(road)
  if (!door) throw new Error(`no road ${road}`)
  return door
}

describe.each(FEATURES)('$over', ({ over, features: tried }) => {
  describe.each(['directly', 'gate', 'gate, shared'])('%s', (road) => {
    // The SDK has no server any more that speaks it.
    if (road === 'directly' && over === 'SDK 1 over HTTP+SSE') return
    test.each(tried.map((feature) => [feature.name, feature] as const))('%s', async (name, feature) => {
      const lacks = road === 'gate, shared' && over !== 'SDK 2, 2026-07-28' ? SHARED_LACKS[name] : undefined
      // What fails leaves something behind, and in a shared process that is everybody's.
      const door = lacks === undefined ? doorOf(`${road}, ${over}`) : await newShared(over)
      const failure = await tryFeature(feature, over, door, lacks === undefined ? WITHIN_MS : LACKING_MS)
      if (lacks === undefined) expect(failure).toBeNull()
      else expect([lacks, failure]).toEqual([lacks, expect.any(String)])
    })
  })
})
