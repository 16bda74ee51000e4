import { expect, test } from 'bun:test'
import { Health, type Probe, type Probed } from '../../src/health.ts'
import { alone } from '../../src/alone.ts'
import { Placement } from '../../src/placement.ts'
import { limits } from '../../src/limits.ts'
import { stdioSpec } from '../../src/stdio.ts'
import { type Upstream, UpstreamIndex } from '../../src/upstream.ts'
import { eventually } from '../support/poll.ts'
import { serverAt } from '../support/server.ts'

const HOUR_MS = 3_600_000
const STARTED_AT = 10 * HOUR_MS
const UP: Probed = { reachable: true, found: 'http', path: '', detail: 'HTTP answers (200)', mcp: null }
const DOWN: Probed = { ...UP, reachable: false, found: 'nothing', detail: 'nothing' }

const serverNumber = (n: number): Upstream => serverAt(`http://127.0.0.1:${n}`, { id: `srv_${n}`, name: `s${n}` })

/** Servers that answer a look when the test says so. */
const setUp = (count: number) => {
  const servers = new UpstreamIndex()
  const all = Array.from({ length: count }, (_, n) => serverNumber(n + 1))
  all.forEach((server) => servers.add(server))
  const looks: { server: Upstream; before: Probed | null; end(probed: Probed): void; ended: boolean }[] = []
  const probe: Probe = (server, before) =>
    new Promise((resolve) => {
      const look = {
        server,
        before,
        ended: false,
        end: (probed: Probed) => {
          look.ended = true
          resolve(probed)
        },
      }
      looks.push(look)
    })
  const clock = { now: STARTED_AT }
  const placement = new Placement({ node: 'node_1', formerly: [], cluster: alone })
  const health = new Health({ servers, probe, placement, limits, now: () => clock.now, stopwatch: () => clock.now })
  /** What the timer does, a few times, each with all that follows from it. */
  const ticks = async () => {
    for (let turn = 0; turn < 3; turn++) {
      health.lookAtDue()
      await new Promise(setImmediate)
    }
  }
  return { health, ticks, servers, all, looks, open: () => looks.filter(({ ended }) => !ended), clock }
}

test('all are looked at after the start, so many at once, each once', async () => {
  const { ticks, looks, open } = setUp(10)
  for (let seen = 0; seen < 10; seen++) {
    await ticks()
    expect(open().length).toBe(Math.min(limits.looksMax, 10 - seen))
    open()[0]?.end(UP)
  }
  await ticks()
  expect(looks.map(({ server }) => server.name).toSorted()).toEqual(
    Array.from({ length: 10 }, (_, n) => `s${n + 1}`).toSorted(),
  )
})

test('and now and then: one that dies and comes back is followed', async () => {
  const { health, ticks, all, looks, clock } = setUp(1)
  const [server] = all as [Upstream]
  for (const [round, answer] of [UP, DOWN, UP].entries()) {
    await ticks()
    expect(looks.length).toBe(round + 1)
    expect(looks[round]?.before?.reachable).toBe([undefined, true, false][round])
    looks[round]?.end(answer)
    await ticks()
    expect(health.of(server).last).toEqual({ ...answer, at: clock.now })
    clock.now += limits.healthIntervalMs * 0.89
    await ticks()
    expect(looks.length).toBe(round + 1)
    clock.now += limits.healthIntervalMs * 0.22
  }
})

test('the longest overdue comes first, so that slow servers keep none from their turn', async () => {
  const { ticks, looks, open, clock } = setUp(limits.looksMax + 1)
  await ticks()
  for (const look of open()) look.end(DOWN)
  await new Promise(setImmediate)
  clock.now += 2 * limits.healthIntervalMs
  await ticks()
  expect(looks[limits.looksMax]?.server.name).toBe(`s${limits.looksMax + 1}`)
})

test('a closed server is not looked at until it opens, a removed one never', async () => {
  const { ticks, servers, all, looks } = setUp(2)
  const [closed, removed] = all as [Upstream, Upstream]
  closed.state = 'closed'
  servers.remove(removed, STARTED_AT)
  await ticks()
  expect(looks).toEqual([])
  closed.state = 'open'
  await ticks()
  expect(looks.map(({ server }) => server.name)).toEqual(['s1'])
})

test('one that is new is looked at soon, unless it is to be left alone for the first interval', async () => {
  const { health, ticks, all, looks, clock } = setUp(1)
  health.postpone(all[0] as Upstream)
  await ticks()
  expect(looks).toEqual([])
  clock.now += limits.healthIntervalMs * 1.11
  await ticks()
  expect(looks.length).toBe(1)
})

test('one look at a server at a time, and one for all who ask meanwhile', async () => {
  const { health, ticks, all, looks, open } = setUp(1)
  const [server] = all as [Upstream]
  const first = health.look(server)
  await eventually(() => looks.length === 1)
  const [second, third] = [health.look(server), health.look(server)]
  await ticks()
  expect(open().length).toBe(1)
  looks[0]?.end(DOWN)
  expect(await first).toEqual(DOWN)
  await eventually(() => looks.length === 2)
  looks[1]?.end(UP)
  expect(await Promise.all([second, third])).toEqual([UP, UP])
  await ticks()
  expect(looks.length).toBe(2)
})

test('who asks waits for a turn, and gets the next before anybody else', async () => {
  const { health, ticks, all, looks, open } = setUp(limits.looksMax + 3)
  await ticks()
  expect(open().length).toBe(limits.looksMax)
  const last = all.at(-1) as Upstream
  const asked = health.look(last)
  await ticks()
  expect(looks.length).toBe(limits.looksMax)
  open()[0]?.end(UP)
  await eventually(() => looks.length === limits.looksMax + 1)
  expect(looks.at(-1)?.server.name).toBe(last.name)
  looks.at(-1)?.end(DOWN)
  expect(await asked).toEqual(DOWN)
})

test('commands that take long to start keep no URL from its turn', async () => {
  const { health, ticks, all, looks, open } = setUp(limits.looksMax + 3)
  const isUrl = ({ server }: (typeof looks)[number]) => server.stdio === null
  for (const server of all.slice(2)) server.stdio = stdioSpec({ command: ['slow'] }, 'node_1')
  await ticks()
  expect([open().length, open().filter(isUrl).length]).toEqual([limits.looksMax + 2, 2])
  open().find(isUrl)?.end(UP)
  void health.look(all[0] as Upstream)
  await ticks()
  // The next of the commands waits all the same.
  expect([open().length, looks.filter(isUrl).length]).toEqual([limits.looksMax + 2, 3])
})

test('a look sees the server as it was when it began; a change looks again, and forgets', async () => {
  const { health, ticks, all, looks } = setUp(1)
  const [server] = all as [Upstream]
  const first = health.look(server)
  await eventually(() => looks.length === 1)
  const before = server.url
  server.url = new URL('http://127.0.0.1:9')
  expect(looks[0]?.server.url).toBe(before)
  health.changed(server)
  looks[0]?.end(UP)
  await first
  expect(health.of(server).last).toBeNull()
  await eventually(() => looks.length === 2)
  expect(looks[1]?.server.url).toBe(server.url)
  expect(looks[1]?.before).toBeNull()
  looks[1]?.end(DOWN)
  await eventually(() => health.of(server).last?.reachable === false)
  server.state = 'closed'
  health.changed(server)
  await ticks()
  expect([health.of(server).last, looks.length]).toEqual([null, 2])
  server.state = 'open'
  await ticks()
  expect(looks.length).toBe(3)
})

test('errors are counted by the hour, and in all', () => {
  const { health, servers, all, clock } = setUp(2)
  const [server, other] = all as [Upstream, Upstream]
  health.answered(server.id, true)
  for (let minute = 0; minute < 59; minute++) {
    clock.now += 60_000
    health.answered(server.id, false)
  }
  expect(health.of(server).hour).toEqual({ requests: 60, errors: 1 })
  clock.now += 60_000
  expect(health.of(server).hour).toEqual({ requests: 59, errors: 0 })
  health.answered(server.id, true)
  expect(health.of(server).hour).toEqual({ requests: 60, errors: 1 })
  clock.now += HOUR_MS
  expect(health.of(server).hour).toEqual({ requests: 0, errors: 0 })
  expect(health.of(server).total).toEqual({ requests: 61, errors: 2 })
  expect(health.of(other).hour).toEqual({ requests: 0, errors: 0 })
  health.answered('srv_of_nobody', true)
  expect(servers.byId.size).toBe(2)
})
