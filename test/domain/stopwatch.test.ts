import { afterEach, expect, setSystemTime, test } from 'bun:test'
import { AttentionRounds } from '../../src/attention.ts'
import { Health } from '../../src/health.ts'
import { idsFollow, newId } from '../../src/id.ts'
import { alone } from '../../src/alone.ts'
import { Placement } from '../../src/placement.ts'
import { limits } from '../../src/limits.ts'
import { OperatorSessions } from '../../src/session.ts'
import { Sightings } from '../../src/sightings.ts'
import { TokenIndex } from '../../src/token-index.ts'
import { UpstreamIndex } from '../../src/upstream.ts'
import { UsageMeter } from '../../src/usage.ts'
import { serverAt } from '../support/server.ts'

/** What lasts or waits does not follow the wall clock, which somebody sets. */

const DAY_MS = 24 * 3_600_000
const NOW = Date.parse('2026-11-21T12:00:00Z')

const setUp = () => {
  const clock = { now: NOW, elapsed: 0 }
  return { clock, now: () => clock.now, stopwatch: () => clock.elapsed }
}

afterEach(() => setSystemTime())

test('a server is looked at again when its time has passed, though the clock was set back', async () => {
  const { clock, now, stopwatch } = setUp()
  const servers = new UpstreamIndex()
  const server = serverAt('http://127.0.0.1:1')
  servers.add(server)
  const probed = { reachable: true, found: 'http' as const, path: '', detail: '', mcp: null }
  const placement = new Placement({ node: 'node_1', formerly: [], cluster: alone })
  const health = new Health({ servers, probe: () => Promise.resolve(probed), placement, limits, now, stopwatch })
  await health.look(server)
  health.answered(server.id, true)
  clock.now -= DAY_MS
  clock.elapsed += limits.healthIntervalMs * 1.2
  health.lookAtDue()
  await new Promise(setImmediate)
  expect(health.of(server).last?.at).toBe(NOW - DAY_MS)
  expect(health.of(server).hour).toEqual({ requests: 1, errors: 1 })
  clock.elapsed += 3_600_000
  expect(health.of(server).hour).toEqual({ requests: 0, errors: 0 })
})

test('what needs a look is found out anew after a minute, though the clock was set back', async () => {
  const { clock, now, stopwatch } = setUp()
  let rounds = 0
  const attention = new AttentionRounds({
    tokens: new TokenIndex(),
    servers: new UpstreamIndex(),
    usage: new UsageMeter(),
    sightings: new Sightings(limits, now),
    *lastUses() {
      rounds += 1
      yield []
    },
    changes: () => 0,
    limits,
    now,
    stopwatch,
    onFailed: () => undefined,
  })
  await attention.find()
  clock.now += DAY_MS
  await attention.find()
  expect(rounds).toBe(1)
  clock.now -= 2 * DAY_MS
  clock.elapsed += limits.attentionMs
  await attention.find()
  await Bun.sleep(0)
  expect(rounds).toBe(2)
})

test('a session lasts as long as it may, whatever the clock says', () => {
  const { clock, now, stopwatch } = setUp()
  const sessions = new OperatorSessions(now, stopwatch, limits)
  const visitor = { address: '192.0.2.1', client: null }
  const secret = sessions.open({ id: 'ses_1', operatorId: 'op_1', restricted: false, ...visitor })
  clock.now += 30 * DAY_MS
  expect(sessions.find(secret)?.id).toBe('ses_1')
  clock.now -= 60 * DAY_MS
  clock.elapsed += limits.sessionIdleMs - 1
  const session = sessions.find(secret)
  expect(session?.id).toBe('ses_1')
  if (session) sessions.touch(session)
  expect(session?.usedAt).toBe(clock.now)
  clock.elapsed += limits.sessionIdleMs
  expect(sessions.find(secret)).toBeNull()
})

test('ids sort by their making, though the clock was set back, also behind those of a start before', () => {
  const ids = [newId('tok'), newId('tok')]
  setSystemTime(Date.now() - DAY_MS)
  ids.push(newId('tok'), newId('tok'))
  setSystemTime()
  const future = `tok_${Bun.randomUUIDv7('hex', Date.now() + DAY_MS).replaceAll('-', '')}`
  ids.push(future)
  idsFollow(future)
  ids.push(newId('tok'), newId('tok'))
  expect(ids.toSorted()).toEqual(ids)
  expect(new Set(ids).size).toBe(ids.length)
  // What is no id of ours says nothing.
  idsFollow('zzz')
  expect(newId('tok') > (ids.at(-1) ?? '')).toBe(true)
})
