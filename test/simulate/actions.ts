import type { Message } from '../../src/cluster/message.ts'
import type { ClusterPolicy } from '../../src/cluster-view.ts'
import type { RevocationRecord, Selector } from '../../src/revocation-record.ts'
import type { Random } from '../support/random.ts'
import type { Process } from './process.ts'
import type { Machine, World } from './world.ts'

/** How often each is drawn, before the seed bends it. */
export const WEIGHTS = {
  issue: 20,
  revoke: 10,
  rotate: 2,
  gate: 3,
  removeKey: 1,
  unheardOf: 2,
  request: 4,
  receipt: 6,
  block: 4,
  isolate: 3,
  unblock: 4,
  mute: 3,
  starve: 5,
  slow: 5,
  weather: 3,
  unplug: 2,
  crash: 3,
  crashWriting: 3,
  restart: 6,
  stop: 3,
  wake: 5,
  skew: 1,
  breakDisk: 1,
  mendDisk: 2,
  backup: 2,
  restore: 1.5,
  copy: 0.7,
  destroy: 0.4,
  join: 2,
  welcome: 4,
  leave: 0.5,
  remove: 1,
  removeByForce: 0.6,
  sayOff: 1,
  policy: 1.5,
  upgrade: 1,
} as const
export type ActionName = keyof typeof WEIGHTS

/** What a world is about; the rest does not happen there. */
const MEMBERS: readonly ActionName[] = ['join', 'welcome', 'leave', 'remove', 'policy']
const FOLDERS: readonly ActionName[] = ['backup', 'restore', 'copy']
const LOSSES: readonly ActionName[] = ['destroy', 'removeByForce', 'sayOff']
export const LEFT_OUT: readonly (readonly ActionName[])[] = [
  [...MEMBERS, ...FOLDERS, ...LOSSES],
  [...MEMBERS, ...FOLDERS, ...LOSSES],
  [...FOLDERS, ...LOSSES],
  LOSSES,
  [],
]

/** Does something, and says what; null: nothing was there to do it to. */
type Action = (world: World, random: Random) => string | null

const SUBJECTS = ['ann', 'bob', 'cyd'] as const
const GROUPS = ['crew', 'guests'] as const
const SERVERS = ['s1', 's2', 's3'] as const
const TYPES: readonly Message['t'][] = [
  'digest',
  'answer',
  'facts',
  'pull',
  'ack',
  'promise',
  'accepted',
  'chosen',
  'view',
  'which',
]

const running = (world: World): Process[] => [...world.processes()].filter(({ stopped }) => !stopped)
const anyRunning = (world: World, random: Random): Process | undefined => random.any(running(world))
const anyMachine = (world: World, random: Random, wanted: (machine: Machine) => boolean): Machine | undefined =>
  random.any(world.machines.filter(wanted))

/** A joiner that waits to be let in has nothing yet. */
const hasStarted = ({ disk }: Machine): boolean => disk !== null && disk.state !== null

const next = (world: World, what: string): string => `${what}${(world.made += 1)}`

const selectorOf = (process: Process, random: Random, wallNow: number): Selector => {
  const selector: Selector = {}
  const live = [...process.store.live.keys()]
  const one = random.any(live)
  const broad = random.below(20)
  if (broad < 10 && one !== undefined) selector.tokens = [one, ...(random.chance(0.3) ? live.slice(0, 2) : [])]
  else if (broad < 14) selector.subject = random.pick(SUBJECTS)
  else if (broad < 17) selector.group = random.pick(GROUPS)
  else if (broad < 18) selector.server = random.pick(SERVERS)
  else if (broad < 19) selector.issuedBefore = wallNow + random.below(3) * 1_000
  else selector.all = true
  return selector
}

const recordOf = (world: World, process: Process, random: Random): RevocationRecord => {
  const at = process.deps.wallNow(process.machine)
  return {
    id: next(world, 'rev'),
    at,
    actor: 'sim',
    reason: 'other',
    note: '',
    selector: selectorOf(process, random, at),
    tokens: [],
  }
}

const directions = (one: string, other: string, random: Random): string[] =>
  random.pick([[`${one} ${other}`], [`${other} ${one}`], [`${one} ${other}`, `${other} ${one}`]])

export const ACTIONS: Readonly<Record<ActionName, Action>> = {
  issue: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const id = next(world, 't')
    const made = process.commit('change', 'token.issue', {
      id,
      name: id,
      subject: random.chance(0.7) ? random.pick(SUBJECTS) : null,
      group: random.chance(0.4) ? random.pick(GROUPS) : null,
      policy: null,
      servers: SERVERS.filter(() => random.chance(0.5)),
      createdAt: process.deps.wallNow(process.machine),
      createdBy: 'sim',
      expiresAt: null,
      revokedAt: null,
      revocationId: null,
      secrets: [],
      seen: process.store.seen,
    })
    return made && `${process.id} issues ${id}`
  },
  revoke: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const record = recordOf(world, process, random)
    const durable = !process.disk.broken
    if (!durable) world.checks.relayed.push(record)
    process.revoke(record)
    return `${process.id} revokes ${JSON.stringify(record.selector)}${durable ? '' : ', its disk refuses'}`
  },
  rotate: (world, random) => {
    const process = anyRunning(world, random)
    const token = process && random.any([...process.store.live.keys()])
    if (!process || !token) return null
    const diesAt = process.deps.wallNow(process.machine) + random.below(3) * 10_000
    const made = process.commit('change', 'token.rotate', {
      token,
      deaths: { [`${token}.${random.below(2)}`]: diesAt },
    })
    return made && `${process.id} rotates ${token}`
  },
  gate: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const [register, value] = [`gate:${random.pick(SERVERS)}`, next(world, 'state')]
    return process.commit('change', 'gate.put', { register, value }) && `${process.id} puts ${register} ${value}`
  },
  removeKey: (world, random) => {
    const process = anyRunning(world, random)
    const id = next(world, 'key')
    return process?.commit('revocation', 'apikey.remove', { id }) ? `${process.id} removes ${id}` : null
  },
  unheardOf: (world, random) => {
    const process = random.any(running(world).filter(({ program }) => program === 'new'))
    if (!process) return null
    if (random.chance(0.5)) {
      const fact = { register: 'tint', value: next(world, 'tint') }
      return process.commit('change', 'gate.tint', fact) && `${process.id} tints`
    }
    const { id, selector } = recordOf(world, process, random)
    const made = process.commit('revocation', 'token.quench', { id, selector })
    return made && `${process.id} quenches ${JSON.stringify(selector)}`
  },
  request: (world, random) => {
    const process = anyRunning(world, random)
    const other = random.any([...world.processes()])
    const known = random.chance(0.7) ? other?.store.live : world.checks.tokens
    const token = random.any([...(known?.keys() ?? [])])
    if (!process || token === undefined) return null
    const passes = process.fit && process.store.live.has(token)
    world.count(passes ? 'requests passed' : 'requests refused')
    return `${process.id} ${passes ? 'lets' : 'does not let'} ${token} in`
  },
  receipt: (world, random) => {
    const process = anyRunning(world, random)
    const revocation = process && random.any(process.store.revocations.slice(-5))
    if (!process || !revocation) return null
    const complete = process.askCompletion(revocation)
    return `${process.id} says ${revocation.origin}/${revocation.seq} is ${complete ? '' : 'not '}complete`
  },
  block: (world, random) => {
    const [one, other] = [anyRunning(world, random), anyRunning(world, random)]
    if (!one || !other || one === other) return null
    const ways = directions(one.id, other.id, random)
    for (const way of ways) world.network.blocked.add(way)
    return ways.join(', ')
  },
  isolate: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const way = random.below(3)
    for (const { id } of world.processes()) {
      if (id === process.id) continue
      if (way !== 0) world.network.blocked.add(`${process.id} ${id}`)
      if (way !== 1) world.network.blocked.add(`${id} ${process.id}`)
    }
    return `${process.id} ${['hears nobody', 'is heard by nobody', 'is cut off'][way]}`
  },
  unblock: (world, random) => {
    const process = anyRunning(world, random)
    if (!process || world.network.isClear) return null
    const { blocked, muted, slow } = world.network
    for (const way of blocked) if (way.includes(process.id)) blocked.delete(way)
    for (const way of muted.keys()) if (way.includes(process.id)) muted.delete(way)
    for (const way of slow.keys()) if (way.includes(process.id)) slow.delete(way)
    return process.id
  },
  mute: (world, random) => {
    const [one, other] = [anyRunning(world, random), anyRunning(world, random)]
    if (!one) return null
    const types = new Set(TYPES.filter(() => random.chance(0.3)))
    const to = random.chance(0.5) ? [other as Process] : [...world.processes()]
    for (const { id } of to) if (id !== one.id) world.network.muted.set(`${one.id} ${id}`, types)
    return `${one.id} to ${to.map(({ id }) => id).join()}: no ${[...types].join()}`
  },
  starve: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const types = new Set<Message['t']>(random.pick([['facts'], ['facts', 'digest'], ['facts', 'ack']]))
    for (const { id } of world.processes()) if (id !== process.id) world.network.muted.set(`${id} ${process.id}`, types)
    return `${process.id} hears no ${[...types].join(', ')}`
  },
  slow: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const [ms, from] = [Math.round(random.next() * 2_000), random.chance(0.5)]
    for (const { id } of world.processes()) {
      if (id !== process.id) world.network.slow.set(from ? `${process.id} ${id}` : `${id} ${process.id}`, ms)
    }
    return `${from ? 'from' : 'to'} ${process.id} ${ms} ms`
  },
  weather: (world, random) => {
    const bad = (most: number) => (random.chance(0.5) ? 0 : random.next() * most)
    world.network.weather = {
      delayMs: random.pick([0, 2, 20, 200, random.next() * 1_000]),
      jitterMs: random.pick([0, 5, 50, random.next() * 1_000]),
      loss: bad(0.3),
      doubling: bad(0.3),
      reordering: bad(0.5),
    }
    return JSON.stringify(world.network.weather)
  },
  unplug: (world, random) => {
    const [one, other] = [anyRunning(world, random), anyRunning(world, random)]
    if (!one || !other || one === other) return null
    world.network.drop(one.id, other.id)
    return `${one.id} ${other.id}`
  },
  crash: (world, random) => {
    const process = random.any([...world.processes()])
    if (!process) return null
    world.kill(process, random.chance(0.3))
    return process.id
  },
  crashWriting: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    process.disk.crash = random.pick(['before', 'after'])
    return `${process.id}, ${process.disk.crash} its next write`
  },
  restart: (world, random) => {
    const machine = anyMachine(world, random, ({ disk, process }) => disk !== null && process === null)
    if (!machine) return null
    world.boot(machine, random)
    return machine.name
  },
  stop: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    process.stopped = true
    return process.id
  },
  wake: (world, random) => {
    const process = random.any([...world.processes()].filter(({ stopped }) => stopped))
    if (!process) return null
    process.wake(random.chance(0.5))
    return process.id
  },
  skew: (world, random) => {
    const machine = anyMachine(world, random, ({ process }) => process !== null)
    if (!machine) return null
    machine.skewMs = (random.next() - 0.5) * 2 * 365 * 86_400_000
    return `${machine.name} ${Math.round(machine.skewMs / 86_400_000)} days`
  },
  breakDisk: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    process.disk.broken = true
    return process.id
  },
  mendDisk: (world, random) => {
    const machine = anyMachine(world, random, ({ disk }) => disk?.broken === true)
    if (!machine?.disk) return null
    machine.disk.broken = false
    if (machine.process && !machine.process.stopped) machine.process.flushJournal()
    return machine.name
  },
  backup: (world, random) => {
    const machine = anyMachine(world, random, hasStarted)
    if (!machine?.disk) return null
    machine.backups.push(machine.disk.copy())
    return machine.name
  },
  restore: (world, random) => {
    const machine = anyMachine(world, random, (one) => hasStarted(one) && one.backups.length > 0)
    const backup = machine && random.any(machine.backups)
    if (!machine?.disk || !backup) return null
    if (machine.process) world.kill(machine.process, false)
    world.restore(machine, backup.copy(), random.chance(0.7))
    world.boot(machine, random)
    return `${machine.name} is ${machine.disk.identity} now`
  },
  copy: (world, random) => {
    const from = anyMachine(world, random, hasStarted)
    const to = anyMachine(world, random, ({ disk }) => disk === null)
    if (!from?.disk || !to) return null
    const disk = from.disk.copy()
    disk.retired = false
    world.adoptDisk(to, disk)
    world.boot(to, random)
    return `${from.disk.identity} to ${to.disk?.identity}`
  },
  destroy: (world, random) => {
    const machine = anyMachine(world, random, ({ disk }) => disk !== null)
    if (!machine?.disk || world.machines.filter(({ disk }) => disk).length < 3) return null
    const { identity } = machine.disk
    world.destroy(machine)
    return identity
  },
  join: (world, random) => {
    const machine = anyMachine(world, random, ({ disk }) => disk === null)
    const member = anyRunning(world, random)
    if (!machine || !member) return null
    return world.askIn(machine, member)
  },
  welcome: (world, random) => world.welcome(random),
  leave: (world, random) => {
    const process = anyRunning(world, random)
    if (!process || process.membership.members.length < 2) return null
    process.change({ kind: 'remove', id: process.id, force: false, secret: world.newSecret() })
    return process.id
  },
  remove: (world, random) => {
    const process = anyRunning(world, random)
    const member = process && random.any(process.membership.members)
    if (!process || !member || process.membership.members.length < 3) return null
    process.change({ kind: 'remove', id: member.id, force: false, secret: world.newSecret() })
    return `${process.id} removes ${member.id}`
  },
  removeByForce: (world, random) => {
    const process = anyRunning(world, random)
    const member = process && random.any(process.membership.members)
    if (!process || !member || member.id === process.id) return null
    world.checks.suspended = true
    process.change({ kind: 'remove', id: member.id, force: true, secret: world.newSecret() })
    return `${process.id} removes ${member.id}`
  },
  sayOff: (world, random) => {
    const process = anyRunning(world, random)
    const member = process && random.any(process.membership.void.filter(({ id }) => world.gone.has(id)))
    if (!process || !member) return null
    process.change({ kind: 'off', id: member.id })
    return `${process.id} says of ${member.id}`
  },
  policy: (world, random) => {
    const process = anyRunning(world, random)
    if (!process) return null
    const policy = random.pick<ClusterPolicy | 'auto'>(['lease', 'serve', 'auto'])
    const leaseMs = world.leaseMs * random.pick([1, 1, 2])
    process.change({ kind: 'policy', policy, leaseMs })
    return `${process.id}: ${policy} ${leaseMs}`
  },
  upgrade: (world, random) => {
    const machine = anyMachine(world, random, ({ program, process }) => program === 'old' && process !== null)
    if (!machine?.process) return null
    world.kill(machine.process, false)
    machine.program = 'new'
    world.boot(machine, random)
    return machine.name
  },
}
