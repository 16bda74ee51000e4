import type { TestNode } from '../support/node.ts'
import { startConformance } from '../support/upstreams/conformance/server.ts'
import { type Check, runSuite, type Suite } from './suite.ts'

/** By header also under a policy that forbids nothing the suites ask for: what is read must pass as it came. */
export const THROUGH = ['header', 'path', 'policy'] as const
export const ROADS = ['direct', ...THROUGH] as const
export type Road = (typeof ROADS)[number]

const POLICY = { allow: ['*'], deny: ['never_*'], readOnly: true, callsPerMinute: 1_000, concurrentStreams: 100 }

/** Each has an upstream of its own: what one run changes there, another one's open stream would tell. */
const runRoad = async (road: Road, suite: Suite, node: TestNode): Promise<Check[]> => {
  const upstream = await startConformance()
  try {
    if (road === 'direct') return await runSuite(suite, `${upstream.url}/mcp`)
    const name = `conformance-${crypto.randomUUID()}`
    await node.addServer(name, upstream.url)
    const { token } = await node.createToken(name, [name], road === 'policy' ? { policy: POLICY } : {})
    return road === 'path'
      ? await runSuite(suite, `${node.gate}/t/${token}/s/${name}/mcp`)
      : await runSuite(suite, `${node.gate}/s/${name}/mcp`, token)
  } finally {
    await upstream.stop()
  }
}

/** Runs a suite directly and through the gate, all at once. */
export const runRoads = async (suite: Suite, node: TestNode): Promise<Record<Road, Check[]>> => {
  const [direct, header, path, policy] = await Promise.all([
    runRoad('direct', suite, node),
    runRoad('header', suite, node),
    runRoad('path', suite, node),
    runRoad('policy', suite, node),
  ])
  return { direct, header, path, policy }
}
