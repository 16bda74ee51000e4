/** @jsxImportSource hono/jsx */
import { Elysia } from 'elysia'
import type { Node } from '../../node.ts'
import type { SelfTestResult } from '../../selftest.ts'
import { formatTime } from '../../time.ts'
import { type NodeCard, NodeLive, type NodeNow, NodePage } from '../../views/node.tsx'
import { mayManage } from './access.tsx'
import { ringCards } from './keys.tsx'
import { frameOf, isScript, page, partial } from './page.ts'
import { personOf } from './person.ts'

/** Said only while it is true: anybody could have written the address. */
const noticeOf = (query: URLSearchParams, { keys }: Pick<NodeCard, 'keys'>): string | null => {
  const [made, gone] = [query.get('made'), query.get('gone')]
  if (keys.some(({ id, current }) => current && id === made)) return 'Rotated: new secrets use the new key.'
  return gone !== null && keys.every(({ id }) => id !== gone) ? 'The key is removed from the ring.' : null
}

const lastOf = ({ at, ok, step, message, timings }: SelfTestResult) => ({
  ...{ ok, step, message, at: formatTime(at), endSeenMs: timings.endSeenMs },
})

const nowOf = (node: Node): NodeNow => ({
  startedAt: formatTime(node.startedAt),
  uptimeMs: performance.now(),
  problems: node.problems(),
  selfTest: { everyMs: node.selfTest.everyMs, last: node.selfTest.last && lastOf(node.selfTest.last) },
  uses: [
    { what: 'Connections', used: node.registry.size, max: node.registry.connectionsMax },
    { what: 'Servers', used: node.servers.byName.size, max: node.limits.serversMax },
    { what: 'Sessions of people', used: node.access.sessions.list().length, max: node.limits.operatorSessionsMax },
  ],
})

export const nodePageRoutes = (node: Node) =>
  new Elysia({ name: 'node-pages' }).get('/node', async ({ request }) => {
    const { actor } = personOf(request)
    const { config, limits, version } = node
    const now = nowOf(node)
    const frame = frameOf(node, request)
    if (isScript(request)) return partial(<NodeLive {...{ frame, now }} />)
    const keys = await ringCards(node)
    const card: NodeCard = {
      id: node.id,
      version: version.version,
      commit: version.commit,
      builtAt: version.date,
      ...now,
      gateUrl: node.gateUrl,
      consoleUrl: node.consoleUrl,
      dataFolder: config.data,
      keyFile: config.keyFile,
      tls: config.tls !== null,
      trustedProxies: config.trustedProxies.length,
      keys,
      keysMax: limits.keysMax,
      mayManage: mayManage(actor),
      mayAsk: !actor.restricted,
      notice: noticeOf(new URL(request.url).searchParams, { keys }),
      backupAt: node.backupAt === null ? null : formatTime(node.backupAt),
      backupName: `portcullis-${formatTime(node.now()).slice(0, 10)}.backup`,
    }
    return page(<NodePage frame={frame} card={card} />)
  })
