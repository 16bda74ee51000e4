import { expect, test } from 'bun:test'
import type { Lease } from '../../../src/gate/stdio/supervisor.ts'
import { limits } from '../../../src/limits.ts'
import { eventually } from '../../support/poll.ts'
import { ECHO, isAlive, raw, refusalOf, startSupervisor } from './supervised.ts'

/** Reads what the process says; the first message. */
const heard = (lease: Lease): Promise<unknown> =>
  new Promise((resolve, reject) => {
    lease.process.onmessage = resolve
    lease.process.start().catch(reject)
  })

const gone = ({ process: { pid } }: Lease) => eventually(() => !isAlive(pid), { what: `${pid} is gone` })

test('a process is a connection of its token, and a cut ends it', async () => {
  await using all = startSupervisor()
  const server = all.add('echo', ECHO)
  const caller = all.caller('a')
  const lease = await all.supervisor.start(server, caller, '/mcp')
  expect([...all.registry.all()]).toMatchObject([
    { kind: 'process', server, address: '127.0.0.1', client: 'test', path: '/mcp', secret: caller.secret },
  ])
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 1, startedInAll: 1, crashes: 0 })
  const { cut } = all.registry.cut(all.registry.ofToken(caller.token.id), 'token_revoked')
  expect(cut).toBe(1)
  expect(lease.ending).toBeTrue()
  await expect(lease.process.send({ jsonrpc: '2.0', method: 'x' })).rejects.toThrow()
  await gone(lease)
  expect((await lease.process.ended).crashed).toBeFalse()
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, crashes: 0, problem: null, retryAt: null })
  expect(all.registry.size).toBe(0)
})

test('nothing is started for a token that died before it was its turn', async () => {
  await using all = startSupervisor()
  const server = all.add('echo', ECHO)
  const caller = all.caller('a')
  const starting = refusalOf(all.supervisor.start(server, caller, '/mcp'))
  caller.token.revokedAt = Date.now()
  expect(await starting).toMatchObject({ status: 401, slug: 'token-revoked' })
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, startedInAll: 0 })
  expect(all.registry.size).toBe(0)
})

test('a cut while it is made ready starts nothing', async () => {
  await using all = startSupervisor()
  // Whether the sandbox works is tried first, which takes some turns of the loop.
  const server = all.add('echo', ECHO, { sandbox: true })
  const caller = all.caller('a')
  const starting = refusalOf(all.supervisor.start(server, caller, '/mcp'))
  await eventually(() => all.registry.size === 1, { everyMs: 0 })
  expect(all.supervisor.statusOf(server).processes).toBe(0)
  all.registry.cut(all.registry.ofToken(caller.token.id), 'connection_killed')
  expect(await starting).toMatchObject({ status: 503, slug: 'connection-killed' })
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, startedInAll: 0, problem: null })
  expect(all.registry.size).toBe(0)
})

test('it follows the newest secret of its token, and nobody else', async () => {
  await using all = startSupervisor()
  const server = all.add('echo', ECHO)
  const caller = all.caller('a', [Date.now() + 60_000, null])
  const lease = await all.supervisor.start(server, caller, '/mcp')
  const [connection] = all.registry.all()
  lease.touch(all.caller('b'))
  expect(connection?.secret).toBe(caller.secret)
  const newer = caller.token.secrets[1] as typeof caller.secret
  lease.touch({ ...caller, secret: newer, client: 'newer' })
  expect(connection).toMatchObject({ secret: newer, client: 'newer' })
  // Another client of the token has not got the newer one yet.
  lease.touch({ ...caller, client: 'older' })
  expect(connection).toMatchObject({ secret: newer, client: 'older' })
  expect(all.registry.ofToken(caller.token.id).size).toBe(1)
})

test('one past the processes of a token is refused, and other tokens have theirs', async () => {
  await using all = startSupervisor({ stdioProcessesPerTokenMax: 2, stdioEvictIdleMs: 60_000 })
  const server = all.add('echo', ECHO)
  const caller = all.caller('a')
  const lease = await all.supervisor.start(server, caller, '/mcp')
  await all.supervisor.start(server, caller, '/mcp')
  const refused = await refusalOf(all.supervisor.start(server, caller, '/mcp'))
  expect(refused).toMatchObject({ status: 429, slug: 'too-many-processes' })
  expect(refused.retryAfterS).toBeGreaterThan(0)
  await all.supervisor.start(server, all.caller('b'), '/mcp')
  // A place that is given back is there for the next.
  lease.stop()
  await all.supervisor.start(server, caller, '/mcp')
  expect(all.registry.size).toBe(3)
})

test('one past the processes of the node is refused, looks included', async () => {
  await using all = startSupervisor({ stdioProcessesMax: 2, stdioEvictIdleMs: 60_000 })
  const server = all.add('echo', ECHO)
  await all.supervisor.start(server, all.caller('a'), '/mcp')
  await all.supervisor.start(server, null, '/mcp')
  for (const caller of [all.caller('b'), null])
    expect(await refusalOf(all.supervisor.start(server, caller, '/mcp'))).toMatchObject({
      status: 503,
      slug: 'too-many-processes',
    })
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 2, startedInAll: 2 })
})

test('many at once do not go past a limit, and starts wait for what ends', async () => {
  await using all = startSupervisor({ stdioProcessesMax: 3, stdioEvictIdleMs: 60_000, stdioGraceMs: 1_000 })
  const server = all.add('stubborn', raw('stubborn'))
  const starts = Array.from({ length: 8 }, (_, place) =>
    all.supervisor.start(server, all.caller(`t${place}`), '/mcp').catch(() => null),
  )
  const leases = (await Promise.all(starts)).filter((lease) => lease !== null)
  expect(leases).toHaveLength(3)
  await Promise.all(leases.map(heard))
  // Told to end, they live through their grace; their places are theirs until then.
  for (const lease of leases) lease.stop()
  expect(leases.every(({ process: { pid } }) => isAlive(pid))).toBeTrue()
  const next = await all.supervisor.start(server, all.caller('next'), '/mcp')
  expect(leases.some(({ process: { pid } }) => !isAlive(pid))).toBeTrue()
  expect(isAlive(next.process.pid)).toBeTrue()
})

test('the one that was idle for longest makes room; one in use never does', async () => {
  await using all = startSupervisor({ stdioProcessesMax: 3 })
  const server = all.add('echo', ECHO)
  const start = (name: string) => all.supervisor.start(server, all.caller(name), '/mcp')
  const [first, second, third] = [await start('a'), await start('b'), await start('c')]
  first.use()
  second.use()()
  await eventually(async () => start('d'), { what: 'one was idle for long enough' })
  expect([first.ending, second.ending, third.ending]).toEqual([false, false, true])
  await eventually(async () => start('e'))
  expect([first.ending, second.ending]).toEqual([false, true])
})

test('a token at its limit makes room of its own alone', async () => {
  await using all = startSupervisor({ stdioProcessesPerTokenMax: 1 })
  const server = all.add('echo', ECHO)
  const other = await all.supervisor.start(server, all.caller('other'), '/mcp')
  const caller = all.caller('a')
  const own = await all.supervisor.start(server, caller, '/mcp')
  await eventually(() => all.supervisor.start(server, caller, '/mcp'))
  expect([other.ending, own.ending]).toEqual([false, true])
})

test('one that nobody uses ends; one in use does not', async () => {
  await using all = startSupervisor()
  const server = all.add('echo', ECHO, { exactIdleMs: 50 })
  const [idle, used] = [
    await all.supervisor.start(server, all.caller('a'), '/mcp'),
    await all.supervisor.start(server, all.caller('b'), '/mcp'),
  ]
  const free = used.use()
  const alsoFree = used.use()
  await gone(idle)
  free()
  free()
  expect((await idle.process.ended).crashed).toBeFalse()
  expect(used.ending).toBeFalse()
  alsoFree()
  await gone(used)
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, crashes: 0 })
})

test('what a look leaves behind goes soon, and a shared one of a server that was added does not', async () => {
  await using all = startSupervisor()
  const [single, shared] = [all.add('single', ECHO), all.add('shared', ECHO, { shared: true })]
  const kept = await all.supervisor.start(shared, null, '')
  const look = await all.supervisor.start(single, null, '')
  const draft = await all.supervisor.start({ ...shared, id: 'srv_draft' }, null, '')
  await gone(look)
  await gone(draft)
  expect(kept.ending).toBeFalse()
  expect(all.registry.size).toBe(0)
})

test('of what was looked at and not added, all is forgotten after a while; of a server nothing is', async () => {
  await using all = startSupervisor({ stdioForgetMs: 20 })
  const server = all.add('echo', ECHO)
  const draft = { ...server, id: 'srv_draft' }
  await all.supervisor.start(server, null, '')
  await gone(await all.supervisor.start(draft, null, ''))
  expect(all.supervisor.statusOf(draft).startedInAll).toBe(1)
  let others = 0
  await eventually(async () => {
    await all.supervisor.start(all.add(`other${(others += 1)}`, ECHO), null, '')
    return all.supervisor.statusOf(draft).startedInAll === 0
  })
  expect(all.supervisor.statusOf(server).startedInAll).toBe(1)
})

test('after a crash nothing is started for a while, and the status says why', async () => {
  await using all = startSupervisor({ stdioBackoffMs: 60_000, stdioBackoffMsMax: 60_000 })
  const server = all.add('crashing', raw('exit', '0', '3'))
  const lease = await all.supervisor.start(server, all.caller('a'), '/mcp')
  const end = await lease.process.ended
  expect(end).toMatchObject({ crashed: true, code: 3 })
  await eventually(() => all.supervisor.statusOf(server).crashes === 1)
  const status = all.supervisor.statusOf(server)
  expect(status).toMatchObject({ processes: 0, startedInAll: 1, lastCrash: { detail: end.detail } })
  expect(status.retryAt).toBeGreaterThan(Date.now() - 100)
  expect(status.problem).toBe(`exited once, last: ${end.detail}`)
  expect(all.turned).toEqual([status.problem])
  const refused = await refusalOf(all.supervisor.start(server, all.caller('b'), '/mcp'))
  expect(refused).toMatchObject({ status: 503, slug: 'server-restarting', retryAfterS: 60 })
  expect(refused.detail).toContain(end.detail)

  // Another command is another matter.
  Object.assign(server, { stdio: all.specOf(raw('deaf')) })
  const works = await all.supervisor.start(server, all.caller('c'), '/mcp')
  await heard(works)
  await eventually(() => all.supervisor.statusOf(server).problem === null)
  expect(all.turned.at(-1)).toBeNull()
})

test('a crash loop closes the server and says so; whoever opens it begins anew', async () => {
  await using all = startSupervisor({ stdioBackoffMs: 1, stdioBackoffMsMax: 5, stdioCrashesMax: 3 })
  const server = all.add('crashing', raw('exit', '0', '9'))
  for (let crash = 1; crash <= 3; crash++) {
    expect(all.closed).toEqual([])
    const lease = await eventually(() => all.supervisor.start(server, all.caller(`t${crash}`), '/mcp'))
    await lease.process.ended
    await eventually(() => all.supervisor.statusOf(server).crashes === crash)
  }
  const { detail } = all.supervisor.statusOf(server).lastCrash ?? {}
  expect(all.closed).toEqual([`crash loop: it exited 3 times in a row, last: ${detail}`])
  expect(all.supervisor.statusOf(server).problem).toBe(`closed after 3 crashes, last: ${detail}`)
  const refused = await refusalOf(all.supervisor.start(server, all.caller('late'), '/mcp'))
  expect(refused).toMatchObject({ status: 503, slug: 'server-closed' })

  Object.assign(server, { state: 'open', reason: null })
  await eventually(() => all.turned.at(-1) === null)
  expect(all.supervisor.statusOf(server)).toMatchObject({ problem: null, retryAt: null, crashes: 3 })
  const again = await all.supervisor.start(server, all.caller('again'), '/mcp')
  await again.process.ended
  await eventually(() => all.supervisor.statusOf(server).crashes === 4)
  expect(all.closed).toHaveLength(1)
})

test('a loop of one client closes nothing while the others are well', async () => {
  await using all = startSupervisor({
    stdioBackoffMs: 1,
    stdioBackoffMsMax: 1,
    stdioCrashesMax: 2,
    stdioShortLifeMs: 150,
  })
  const server = all.add('kill', ECHO)
  const well = await all.supervisor.start(server, all.caller('well'), '/mcp')
  well.use()
  await eventually(() => performance.now() - well.process.startedAt > 150)
  for (let crash = 1; crash <= 4; crash++) {
    const lease = await eventually(() => all.supervisor.start(server, all.caller(`t${crash}`), '/mcp'))
    process.kill(lease.process.pid, 'SIGKILL')
    await eventually(() => all.supervisor.statusOf(server).crashes === crash)
  }
  expect(all.closed).toEqual([])
  expect(all.supervisor.statusOf(server)).toMatchObject({ problem: null, processes: 1 })
})

test('what is tried only may end as it likes', async () => {
  await using all = startSupervisor()
  const server = all.add('crashing', raw('exit', '0', '3'))
  const lease = await all.supervisor.start(server, all.caller('a'), '/mcp')
  lease.trial = true
  await lease.process.ended
  await eventually(() => all.supervisor.statusOf(server).processes === 0)
  expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 0, retryAt: null, problem: null })
})

test('what can not be started is told, and is no crash', async () => {
  await using all = startSupervisor()
  const server = all.add('missing', ['no-such-command-here'])
  for (const caller of [all.caller('a'), all.caller('b')]) {
    const refused = await refusalOf(all.supervisor.start(server, caller, '/mcp'))
    expect(refused).toMatchObject({ status: 502, slug: 'server-not-startable' })
    // What the machine looks like is told to those who run it alone.
    expect(refused.detail).not.toContain('no-such-command-here')
    const { problem, ...status } = all.supervisor.statusOf(server)
    expect(problem).toContain('"no-such-command-here" was not found')
    expect(status).toMatchObject({ crashes: 0, retryAt: null })
  }
  expect(all.supervisor.statusOf(server)).toMatchObject({ processes: 0, startedInAll: 0 })
  expect(all.registry.size).toBe(0)
  expect(all.logged.map(({ message }) => message)).toEqual([
    `a server can't be started: ${all.supervisor.statusOf(server).problem}`,
  ])
})

test('one that never says a word is known as such afterwards, until another does', async () => {
  await using all = startSupervisor({ stdioStartMs: 100 })
  const server = all.add('silent', ['sleep', '60'])
  const lease = await all.supervisor.start(server, all.caller('a'), '/mcp')
  await eventually(() => performance.now() - lease.process.startedAt > 100)
  lease.stop()
  await eventually(() => all.supervisor.statusOf(server).problem !== null)
  expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 0, problem: expect.stringContaining('in time') })
  all.supervisor.fails(server, 'it is worse')
  expect(all.supervisor.statusOf(server).problem).not.toBe('it is worse')
})

test('starts leave the loop to others in between', async () => {
  await using all = startSupervisor()
  const server = all.add('echo', ECHO)
  let turns = 0
  let timer = setImmediate(function count() {
    turns += 1
    timer = setImmediate(count)
  })
  const startedAt = await Promise.all(
    Array.from({ length: 12 }, async () => {
      await all.supervisor.start(server, null, '/mcp')
      return turns
    }),
  )
  clearImmediate(timer)
  expect(new Set(startedAt).size).toBe(12)
})

test.each([
  ['closed', (all, server) => Object.assign(server, { state: 'closed' })],
  ['removed', (all, server) => all.remove(server)],
  ['changed', (all, server) => Object.assign(server, { stdio: all.specOf(ECHO) })],
] as [string, (all: ReturnType<typeof startSupervisor>, server: ReturnType<typeof all.add>) => unknown][])(
  'a server that was %s has no process any more, the shared one included',
  async (_, change) => {
    await using all = startSupervisor()
    const [server, other] = [all.add('one', ECHO, { shared: true }), all.add('other', ECHO, { shared: true })]
    const lease = await all.supervisor.start(server, null, '/mcp')
    const own = await all.supervisor.start(server, all.caller('a'), '/mcp')
    const kept = await all.supervisor.start(other, null, '/mcp')
    for (const { use } of [lease, own, kept]) use()
    change(all, server)
    await Promise.all([gone(lease), gone(own)])
    expect(kept.ending).toBeFalse()
    expect(all.supervisor.statusOf(server)).toMatchObject({ crashes: 0, processes: 0 })
  },
)

test('a look that holds an old copy starts what the server is now', async () => {
  await using all = startSupervisor()
  const server = all.add('changed', ['no-such-command-here'])
  const copy = { ...server }
  Object.assign(server, { stdio: all.specOf(ECHO) })
  const lease = await all.supervisor.start(copy, null, '')
  expect(isAlive(lease.process.pid)).toBeTrue()
  all.remove(server)
  await gone(lease)
  const refused = await refusalOf(all.supervisor.start(copy, null, ''))
  expect(refused).toMatchObject({ status: 404, slug: 'server-unknown' })
})

test('the lines of standard error are logged with server and process, without the values of the environment', async () => {
  await using all = startSupervisor()
  const env = { PASSWORD: 'hunter2-and-more' }
  const server = all.add('noisy', raw('stderr', '3', 'with hunter2-and-more'), { env })
  const lease = await all.supervisor.start(server, all.caller('a'), '/mcp')
  await heard(lease)
  await eventually(() => all.supervisor.statusOf(server).stderr.length === 3)
  const { pid } = lease.process
  expect(all.supervisor.statusOf(server).stderr.map(({ line }) => line)).toEqual(
    [1, 2, 3].map((line) => `${line} with ***`),
  )
  expect(all.logged).toEqual(
    [1, 2, 3].map((line) => ({ details: { server: 'noisy', pid }, message: `${line} with ***` })),
  )
})

test('its end leaves nobody, those included that ignore every signal', async () => {
  const all = startSupervisor({ stdioGraceMs: limits.stdioGraceMs })
  const server = all.add('family', raw('family'))
  const leases = await Promise.all(['a', 'b'].map((name) => all.supervisor.start(server, all.caller(name), '')))
  const families = (await Promise.all(leases.map(heard))) as { params: { pids: number[] } }[]
  const pids = families.flatMap(({ params }) => params.pids)
  expect(pids).toHaveLength(6)
  expect(pids.every(isAlive)).toBeTrue()
  const stopped = all.supervisor.stop(200)
  expect((await refusalOf(all.supervisor.start(server, null, ''))).status).toBe(503)
  await stopped
  await eventually(() => !pids.some(isAlive))
  await all[Symbol.asyncDispose]()
})
