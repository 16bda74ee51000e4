import { Random } from '../support/random.ts'
import type { FaultPart } from './fault.ts'
import { watchRuntime } from './order-client.ts'
import type { OrderRequest } from './order-request.ts'
import { CRASHES } from './order-disk.ts'
import type { Ground } from './order-domain.ts'
import { ASK_NAMES, prepareGround, World } from './order-world.ts'
import { FakeTime } from './order-time.ts'

/**
 * A model-based test of the order of events: an interleaving is a list of steps out of a seed, done to a real gate and the
 * domain behind it on a fake clock, with a real database and journal, and held against the contract after each.
 * Lost: fast-check's commands and scheduler, which shrink as well, and took more time for one run than its interleaving.
 */
const LONG = 100_000
const SHORT = 2_000
const STEPS_MIN = 8
const STEPS_MAX = 45
/** Failures that are shrunk and told; more say nothing more. */
const FAILURES_MAX = 5
const SHRINKS_MAX = 600

/** How often each step is drawn. */
const WEIGHTS = {
  arrive: 14,
  upload: 8,
  uploaded: 14,
  head: 22,
  say: 26,
  endUpstream: 4,
  breakUpstream: 2,
  goAway: 3,
  hold: 3,
  take: 4,
  revoke: 4,
  kill: 1,
  killServer: 0.5,
  close: 0.7,
  open: 1.5,
  rotate: 1.5,
  issue: 0.4,
  advance: 5,
  setClock: 0.7,
  breakDisk: 1,
  breakJournal: 0.2,
  healDisk: 1.5,
  crash: 0.6,
  restart: 0.5,
} as const
type StepName = keyof typeof WEIGHTS

/** What is done: it picks among what is there by its numbers, or does nothing where nothing is. */
interface Step {
  name: StepName
  a: number
  b: number
  /** How many microtasks run after it; the last value stands for all there are. */
  pause: number
}
const PAUSES = 6

const drawSteps = (random: Random): Step[] =>
  Array.from({ length: STEPS_MIN + random.below(STEPS_MAX - STEPS_MIN) }, () => ({
    name: random.weighted<StepName>(WEIGHTS),
    a: random.below(1_000),
    b: random.below(1_000),
    pause: random.below(PAUSES),
  }))

const of = <T>(items: readonly T[], at: number): T | undefined => items[at % items.length]

const HEAD = { 'x-up': '1' }
const FLOWS = { ...HEAD, 'x-flows': '1' }

/** Whether the stream that would have answered has heard of a failure depends on what is on its way. */
const setUnsure = (request: OrderRequest | undefined, id: number): void => {
  for (const one of [request, request?.stream]) if (one?.waiting.has(id)) one.waiting.set(id, false)
}

/** The upstream begins its answer; now and then another one than it should. */
const answerHead = (request: OrderRequest, odd: number): void => {
  const { call, ask } = request
  if (!call || (ask.body === 'flowing' && !call.uploaded)) return
  if (ask.body === 'flowing') for (const id of request.ids) request.waiting.set(id, true)
  if (odd % 24 < 3) {
    request.failed = true
    for (const id of request.ids) setUnsure(request, id)
    if (odd % 24 === 0) call.head({ status: 401, headers: HEAD }, 'no')
    else if (odd % 24 === 1) call.head({ status: 302, headers: { location: 'http://elsewhere.test/' } }, null)
    else call.fail(Object.assign(new Error('refused'), { code: 'ConnectionRefused' }))
    return
  }
  const type = 'text/event-stream'
  const length = String(request.upstreamSays.length)
  const whole = { ...HEAD, 'content-type': 'application/json', 'content-length': length }
  if (ask.answer === 'octets')
    call.head({ headers: { ...FLOWS, 'content-type': 'application/octet-stream' } }, 'stream')
  else if (ask.answer === 'whole') call.head({ headers: whole }, 'stream')
  else if (ask.answer === 'session')
    call.head({ headers: { ...whole, 'mcp-session-id': `s${request.number}` } }, 'stream')
  else if (ask.answer === 'accepted') call.head({ status: 202, headers: HEAD }, null)
  else if (ask.answer === 'encoded')
    call.head({ headers: { ...FLOWS, 'content-type': type, 'content-encoding': 'gzip' } }, 'stream')
  else call.head({ headers: { ...FLOWS, 'content-type': type } }, 'stream')
}

/** The next bytes of the upstream's, cut anywhere; what announces an endpoint comes whole. */
const say = (request: OrderRequest, bytes: number): void => {
  const { call, upstreamSays, upstreamSaid } = request
  if (!call?.answered || call.over) return
  const first = request.ask.answer === 'announcing' && upstreamSaid === 0 ? upstreamSays.indexOf(10, 20) + 2 : 0
  const end = Math.min(upstreamSays.length, upstreamSaid + Math.max(bytes, first))
  if (end > upstreamSaid) call.say(upstreamSays.subarray(upstreamSaid, end))
  request.upstreamSaid = end
}

const revoke = (world: World, { a, b }: Step): void => {
  const token = of(world.tokens, b)
  if (!token) return
  const { id, name, subject, group } = token
  if (a % 8 < 3) world.revoke({ tokens: [a % 2 === 0 ? id : name] }, (one) => one === token)
  else if (a % 8 === 3 && subject) world.revoke({ subject }, (one) => one.subject === subject)
  else if (a % 8 === 4 && group) world.revoke({ group }, (one) => one.group === group)
  else if (a % 8 === 5) {
    const server = of(world.servers, b)?.name ?? ''
    world.revoke({ server }, ({ servers }) => servers.includes(server))
  } else if (a % 8 === 6) {
    const issuedBefore = world.wallMs
    world.revoke({ issuedBefore }, ({ createdAt }) => createdAt < issuedBefore)
  } else if (a % 40 === 7) world.revoke({ all: true }, () => true)
}

const doStep = (world: World, step: Step): Promise<void> | void | undefined => {
  const { name, a, b } = step
  const { requests, tokens, servers, time, domain } = world
  const live = requests.filter(({ over }) => !over)
  const calling = live.filter(({ call }) => call && !call.over)
  const request = of(live, a)
  const token = of(tokens, a)
  const server = of(servers, b)
  switch (name) {
    case 'arrive':
      if (token && server)
        world.arrive(of(ASK_NAMES, b) ?? 'events', token, a % 5 === 0 ? 0 : -1, of(servers, a >> 3) ?? server, a)
      return
    case 'upload':
      return of(
        live.filter(({ bodyOver }) => !bodyOver),
        a,
      )?.upload(1 + (b % 120))
    case 'uploaded':
      return of(
        live.filter(({ bodyOver, ask }) => !bodyOver && ask.body !== 'none'),
        a,
      )?.upload(null)
    case 'head': {
      const waiting = of(
        calling.filter(({ call }) => !call?.answered),
        a,
      )
      return waiting && answerHead(waiting, b)
    }
    case 'say': {
      const talking = of(
        calling.filter(({ call }) => call?.answered),
        a,
      )
      return talking && say(talking, 1 + (b % 150))
    }
    case 'endUpstream':
      return of(
        calling.filter(({ call, upstreamSaid }) => call?.answered && upstreamSaid > 0),
        a,
      )?.call?.end()
    case 'breakUpstream': {
      const broken = of(calling, a)
      if (broken) broken.failed = true
      if (broken?.call?.answered !== true) for (const id of broken?.ids ?? []) setUnsure(broken, id)
      return broken?.call?.fail(new Error('the upstream broke'))
    }
    case 'goAway':
      return request?.goAway()
    case 'hold':
      return request?.client?.hold()
    case 'take':
      return of(
        live.filter(({ client }) => client?.unsent),
        a,
      )?.client?.take()
    case 'revoke':
      return revoke(world, step)
    case 'kill':
      return request && world.killOne(request)
    case 'killServer':
      return server && world.killServer(server)
    case 'close':
      return server && world.put(server, 'closed')
    case 'open':
      return server && world.put(server, 'open')
    case 'rotate':
      return token && world.rotate(token, of([0, 0, 500, 20_000], b) ?? 0)
    case 'issue':
      // A clock that stands would make it as old as a revocation that still waits in the journal.
      time.wallMs += 1
      if (domain.emergency.problem === null)
        world.issue({ servers: ['one', 'two'], subject: 'bea', group: 'crew', expiresInMs: null })
      return
    case 'advance':
      return time.advance(of([1, 20, 25, 500, 2_000, 16_000, 45_000], a) ?? 1, () => world.drain())
    case 'setClock':
      return world.settle().then(() => {
        time.wallMs += of([-3_600_000, -30_000, 15_000, 41_000, 3_600_000], a) ?? 0
      })
    case 'breakDisk':
      domain.disk.broken = true
      return
    case 'breakJournal':
      domain.disk.journalBroken = domain.disk.broken
      return
    case 'healDisk':
      Object.assign(domain.disk, { broken: false, journalBroken: false })
      return
    case 'crash':
      domain.disk.crashAt = of(CRASHES, a) ?? null
      return
    case 'restart':
      return world.restart()
  }
}

/** Runs one interleaving. Returns what did not hold; none: all did. */
const runSteps = async (ground: Ground, steps: readonly Step[]): Promise<string[]> => {
  ground.begin()
  const world = new World(ground)
  now.world = world
  try {
    for (const step of steps) {
      // With a pause of none, the next step is done in the same run.
      const waits = doStep(world, step)
      if (waits) await waits
      if (world.domain.disk.crashed) await world.restart()
      if (step.pause === PAUSES - 1) await world.settle()
      else for (let microtask = 0; microtask < step.pause; microtask += 1) await Promise.resolve()
      if (world.failures.length > 0) break
    }
    if (world.failures.length === 0) await world.finish()
  } catch (error) {
    world.wrong(error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  ground.end()
  return world.failures
}

/** Whose `fetch` it is. */
const now: { world: World | null } = { world: null }

/** The same failure with as few steps as leaving out one after the other gives. */
const shrink = async (steps: Step[], fails: (steps: Step[]) => Promise<boolean>): Promise<Step[]> => {
  let least = steps
  let tries = 0
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = least.length - size; at >= 0 && tries < SHRINKS_MAX; at -= size) {
      tries += 1
      const fewer = least.toSpliced(at, size)
      if (await fails(fewer)) least = fewer
    }
  }
  return least
}

const tell = (steps: readonly Step[]): string =>
  steps.map(({ name, a, b, pause }) => `${name}(${a},${b})${'.'.repeat(pause)}`).join(' ')

export const run: FaultPart = async (size, seed) => {
  const total = size === 'long' ? LONG : SHORT
  const counts: Record<string, number> = { interleavings: 0, steps: 0 }
  const failures: string[] = []
  const time = new FakeTime()
  const ground = prepareGround(time)
  const restoreTime = time.install()
  const restoreRuntime = watchRuntime(
    (url, init) => now.world?.called(url, init) ?? Promise.reject(new Error('no world')),
  )
  const onUnhandled = (error: unknown) =>
    now.world?.wrong(`a promise was rejected that nobody waited for: ${String(error)}`)
  process.on('unhandledRejection', onUnhandled)
  const count = (what: string, more: number) => {
    counts[what] = (counts[what] ?? 0) + more
  }
  try {
    for (let index = 0; index < total && failures.length < FAILURES_MAX; index += 1) {
      const steps = drawSteps(new Random(seed + index))
      const found = await runSteps(ground, steps)
      count('interleavings', 1)
      count('steps', steps.length)
      const { requests = [], tokens = [] } = now.world ?? {}
      count('requests', requests.length)
      count('upstream calls', requests.filter(({ call }) => call).length)
      count('streams', requests.filter(({ client }) => client).length)
      count('farewells', requests.filter(({ client, saidFarewell }) => client && saidFarewell).length)
      count('resets', requests.filter(({ endedAs }) => endedAs === 'reset').length)
      count('refusals', requests.filter(({ response }) => response && !response.headers.has('x-up')).length)
      count('tokens killed', tokens.filter(({ dead }) => dead).length)
      if (size === 'long' && index % 5_000 === 4_999) console.error(`order: ${index + 1} of ${total} interleavings`)
      if (found.length === 0) continue
      const least = await shrink(steps, async (fewer) => (await runSteps(ground, fewer)).length > 0)
      const again = await runSteps(ground, least)
      failures.push(
        `interleaving ${index} (--seed ${seed + index}, the first): ${again[0] ?? found[0]}; steps: ${tell(least)}`,
      )
    }
  } finally {
    process.off('unhandledRejection', onUnhandled)
    restoreRuntime()
    restoreTime()
    ground.close()
  }
  return { counts, failures }
}
