import type { Member, Membership } from '../../src/cluster/message.ts'
import type { ClusterPolicy } from '../../src/cluster-view.ts'
import type { StoredFact, Vector } from '../../src/fact.ts'
import { type Timing, stateOf } from '../../src/cluster/protocol.ts'
import { Random, randomOf } from '../support/random.ts'
import { ACTIONS, type ActionName, LEFT_OUT, WEIGHTS } from './actions.ts'
import { type Break, SOUND } from './breaks.ts'
import { Checks, Violation } from './checks.ts'
import { Disk } from './disk.ts'
import { Healing } from './healing.ts'
import { type Endpoint, FAIR, Network } from './network.ts'
import { Process } from './process.ts'
import { Timeline } from './timeline.ts'

/** A place where the program may run: one data folder at a time. */
export interface Machine {
  name: string
  disk: Disk | null
  process: Process | null
  /** Copies of its folder, of before. */
  backups: Disk[]
  program: 'old' | 'new'
  /** How far its wall clock is off. */
  skewMs: number
  /** How many identities it had. */
  identities: number
}

export interface WorldOptions {
  broken?: Break
  /** Numbers of the actions that are left out: to see which of them a failure needs. */
  without?: ReadonlySet<number>
  /** A story that is told instead of one that the seed makes up; the seed still says how long everything takes. */
  story?: Story
}

export interface Story {
  name: string
  members: number
  policy: ClusterPolicy
  run(world: World): void
}

export interface Outcome {
  seed: number
  steps: number
  counts: Record<string, number>
  /** What was broken, with the last that happened; null: nothing. */
  failure: { message: string; step: number; trace: string[]; actions: number[] } | null
}

const MACHINES = 9
const TRACED = 120
const SWEEP_MS = 200
const START_WALL = Date.UTC(2026, 10, 21)
/** How long trouble lasts before all is mended, in steps. */
const TROUBLE_STEPS = [300, 600, 1_500] as const

/** Many nodes on a fake network and a fake clock: all that happens comes out of a seed. */
export class World {
  readonly timeline = new Timeline()
  readonly checks: Checks
  readonly network: Network
  readonly machines: Machine[]
  readonly counts: Record<string, number> = {}
  readonly broken: Break
  readonly timing: Timing
  /** Identities that run nowhere and never will again. */
  readonly gone = new Set<string>()
  /** Members that were asked in and were not told yet that they are. */
  readonly joining = new Map<string, { machine: Machine; by: Process; change: string | null }>()
  readonly leaseMs: number
  /** Made so far; names for what is made next. */
  made = 0
  steps = 0
  readonly #random: Random
  readonly #trace: [number, () => string][] = []
  readonly #weights: Record<ActionName, number>
  readonly #actions: number[] = []
  #action = 0

  constructor(
    readonly seed: number,
    readonly options: WorldOptions = {},
  ) {
    const random = (this.#random = new Random(seed))
    this.broken = options.broken ?? SOUND
    this.leaseMs = random.pick([1_000, 1_000, 2_000, 5_000])
    const timing: Timing = {
      digestMs: random.pick([250, 250, 500]),
      leaseGuard: 1.1,
      pullBytesMax: random.pick([2_000, 20_000, 1_048_576]),
      syncGraceMs: 3_000,
      changeTimeoutMs: 10_000,
    }
    this.timing = this.broken.timing?.(timing) ?? timing
    this.machines = Array.from({ length: MACHINES }, (_, at) => ({
      name: String.fromCharCode(97 + at),
      disk: null,
      process: null,
      backups: [],
      program: random.chance(0.8) ? 'old' : 'new',
      skewMs: random.chance(0.3) ? (random.next() - 0.5) * 2 * 365 * 86_400_000 : (random.next() - 0.5) * 1_000,
      identities: 0,
    }))
    this.checks = new Checks(
      () => this.processes(),
      () => this.machines.flatMap(({ disk }) => disk ?? []),
      this.gone,
      (tell) => this.trace(tell),
    )
    this.network = new Network({
      random,
      now: () => this.now,
      at: (time, run) => this.timeline.at(time, run),
      endpoint: (id): Endpoint | undefined => this.process(id),
      endpoints: () => this.processes(),
      encoded: random.chance(0.1),
    })
    const weights = Object.entries(WEIGHTS) as [ActionName, number][]
    const leftOut = random.any(LEFT_OUT) ?? []
    this.#weights = Object.fromEntries(
      weights.map(([name, weight]) => [name, leftOut.includes(name) ? 0 : weight * random.pick([0, 0.5, 1, 1, 3])]),
    ) as Record<ActionName, number>
  }

  get now(): number {
    return this.timeline.now
  }

  /** Runs until so many steps were made, each time of trouble followed by one of healing. */
  run(stepsMax: number): Outcome {
    const { options } = this
    let failure: Outcome['failure'] = null
    try {
      this.#found()
      this.#sweep()
      while ((options.story ? !this.counts['healed'] : this.steps < stepsMax) && this.#goesOn) {
        if (options.story) options.story.run(this)
        else this.#trouble(this.#random.pick(TROUBLE_STEPS))
        new Healing(this).run()
        this.checks.suspended = false
        this.checks.forget()
        this.count('healed')
      }
    } catch (error) {
      const message = error instanceof Violation ? error.message : `threw: ${(error as Error).stack}`
      failure = { message, step: this.steps, trace: this.told(), actions: this.#actions }
    }
    return { seed: this.seed, steps: this.steps, counts: { ...this.counts, ...this.checks.counts }, failure }
  }

  *processes(): Generator<Process> {
    for (const { process } of this.machines) if (process) yield process
  }

  process(id: string): Process | undefined {
    for (const process of this.processes()) if (process.id === id) return process
    return undefined
  }

  /** Makes things happen until the condition holds or the time is over; returns whether it holds. */
  until(done: () => boolean, ms: number): boolean {
    const end = this.now + ms
    while (!done()) {
      if (this.now > end || !this.timeline.next()) return false
    }
    return true
  }

  trace(tell: () => string): void {
    this.#trace.push([this.now, tell])
    if (this.#trace.length > 2 * TRACED) this.#trace.splice(0, TRACED)
  }

  told(): string[] {
    return this.#trace.slice(-TRACED).map(([at, tell]) => `${at.toFixed(1).padStart(9)} ${tell()}`)
  }

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  // What machines go through

  newDisk(machine: Machine): Disk {
    return new Disk(this.#newIdentity(machine))
  }

  /** A folder of another node, or of before, becomes this machine's, under another identity. */
  adoptDisk(machine: Machine, disk: Disk): void {
    disk.rename(this.#newIdentity(machine))
    machine.disk = disk
  }

  /** A folder of before takes the place of this one; `carrying` what this one knew of facts, as `restore` does. */
  restore(machine: Machine, backup: Disk, carrying: boolean): void {
    const { disk } = machine
    if (disk) {
      this.gone.add(disk.identity)
      if (carrying) backup.carry(disk)
      // Of members that came after the backup it could not know: those are kept, as `restore` keeps them.
      backup.state = disk.state
      backup.retired = [backup, disk].every(({ formerly, retired }) => formerly.length === 0 || retired)
      backup.formerly = [...new Set([disk.identity, ...disk.formerly, ...backup.formerly])]
    }
    this.adoptDisk(machine, backup)
    this.checks.forget()
  }

  #newIdentity(machine: Machine): string {
    machine.identities += 1
    return `${machine.name}${machine.identities}`
  }

  newSecret(): string {
    return `sealed ${(this.made += 1)}`
  }

  memberOf(machine: Machine, disk: Disk): Member {
    return { id: disk.identity, name: machine.name, url: `ws://${machine.name}:1`, key: `key of ${disk.identity}` }
  }

  boot(machine: Machine, random: Random): void {
    const { disk } = machine
    if (!disk || disk.state === null || machine.process) return
    disk.crash = null
    disk.crashed = false
    const known = new Map<string, Vector>()
    for (const { disk: other } of this.machines) if (other && other !== disk) known.set(other.identity, vectorOf(other))
    const clock = { rate: 1 + (random.next() - 0.5) * 0.06, offset: random.below(1_000_000) }
    const process = new Process(machine.name, this.memberOf(machine, disk), disk, machine.program, clock, known, {
      stored: (fact: StoredFact) => this.checks.stored(fact),
      lives: (store, token) => this.checks.lives(store, token),
      dies: (store, token) => this.checks.dies(store, token),
      now: () => this.now,
      at: (time, run) => this.timeline.at(time, run),
      network: this.network,
      timing: this.timing,
      broken: this.broken,
      stepped: (one) => {
        this.steps += 1
        this.checks.stepped(one)
      },
      trace: (tell) => this.trace(tell),
      declared: (one, fact) => this.checks.declared(one, fact),
      died: (one) => this.kill(one, false),
      formerly: (id) => this.process(id)?.disk.formerly ?? [],
      wallNow: () => START_WALL + this.now + machine.skewMs,
    })
    machine.process = process
    process.start()
    if (!process.dead && !disk.broken) process.flushJournal()
  }

  /** The process ends, and all that it had in memory; `silently`: its peers' kernels are not told. */
  kill(process: Process, silently: boolean): void {
    process.dead = true
    for (const machine of this.machines) if (machine.process === process) machine.process = null
    this.network.died(process.id, silently)
    this.trace(() => `${process.id} died`)
  }

  /** For good, its folder too: nobody with this identity will ever run again. */
  destroy(machine: Machine): void {
    if (machine.process) this.kill(machine.process, true)
    if (machine.disk) {
      this.gone.add(machine.disk.identity)
      this.joining.delete(machine.disk.identity)
    }
    machine.disk = null
    machine.backups = []
    this.checks.forget()
  }

  // Joining

  /** With an empty folder: the member that was asked has it added, and it starts when it is welcomed. */
  askIn(machine: Machine, by: Process): string {
    const disk = (machine.disk ??= this.newDisk(machine))
    const member = this.memberOf(machine, disk)
    const old = by.membership.members.find(({ id, name }) => name === machine.name && id !== member.id)
    const change = old
      ? by.change({ kind: 'replace', id: old.id, member, off: this.gone.has(old.id), secret: this.newSecret() })
      : by.change({ kind: 'add', member })
    this.joining.set(disk.identity, { machine, by, change })
    return `${by.id} adds ${disk.identity}${old ? ` for ${old.id}` : ''}`
  }

  /** A joiner that is a member now is told all that it needs; one whose host failed it asks another. */
  welcome(random: Random): string | null {
    const [id, joiner] = random.any([...this.joining]) ?? []
    if (id === undefined || !joiner?.machine.disk) return null
    const { machine, by, change } = joiner
    const outcome = by.dead || change === null ? 'failed' : by.protocol.changeOutcome(change)
    if (outcome === 'running') return null
    const members = [...this.processes()].filter(({ stopped }) => !stopped)
    const hosts = members.filter(({ membership }) => membership.members.some((member) => member.id === id))
    const host = outcome === 'in_force' && hosts.includes(by) ? by : random.any(hosts)
    if (!host) {
      const other = random.any(members)
      return other ? this.askIn(machine, other) : null
    }
    this.joining.delete(id)
    this.remember(joiner.machine.disk, host.protocol.view)
    this.boot(machine, random)
    return `${host.id} welcomes ${id}`
  }

  // The beginning, and trouble

  #found(): void {
    const random = this.#random
    const { story } = this.options
    const size = story?.members ?? random.pick([1, 2, 3, 3, 3, 4, 5, 5, 7, 9])
    const first = this.machines.slice(0, size).map((machine) => {
      machine.disk = this.newDisk(machine)
      machine.disk.fresh = false
      return this.memberOf(machine, machine.disk)
    })
    const auto = !story && random.chance(0.5)
    const policy: ClusterPolicy = story
      ? story.policy
      : auto
        ? size >= 3
          ? 'lease'
          : 'serve'
        : random.pick(['lease', 'serve'])
    const membership: Membership = {
      version: 1,
      ballot: `0 ${(first[0] as Member).id}`,
      floor: { vector: {}, unknown: [] },
      members: first,
      policy,
      auto,
      leaseMs: this.leaseMs,
      void: [],
      off: [],
      heir: null,
      secret: 'sealed',
      actor: 'sim',
      change: 'founded',
    }
    for (const machine of this.machines.slice(0, size)) {
      this.remember(machine.disk as Disk, [membership])
      this.boot(machine, random)
    }
  }

  /** What a member has on its disk before it starts for the first time. */
  remember(disk: Disk, memberships: readonly Membership[]): void {
    disk.state = JSON.stringify(stateOf(memberships, !disk.fresh))
  }

  /** One that is alone and has nobody to ask in any more shows nothing. */
  get #goesOn(): boolean {
    return [...this.processes()].length > 0
  }

  #sweep(): void {
    this.network.sweep()
    this.timeline.at(this.now + SWEEP_MS, () => this.#sweep())
  }

  #trouble(steps: number): void {
    const end = this.steps + steps
    let over = false
    const act = () => {
      if (over) return
      const random = this.#act()
      this.timeline.at(this.now + random.next() * random.pick([10, 100, 500]), act)
    }
    act()
    const idleUntil = this.now + 120_000
    while (this.steps < end && this.now < idleUntil && this.timeline.next());
    over = true
  }

  #act(): Random {
    const number = (this.#action += 1)
    const random = randomOf(this.seed, number)
    if (this.options.without?.has(number)) return random
    const name = random.weighted(this.#weights)
    const done = ACTIONS[name](this, random)
    if (done === null) return random
    this.count(name)
    this.#actions.push(number)
    this.steps += 1
    this.trace(() => `— ${number} ${name}: ${done}`)
    this.checks.look()
    return random
  }

  calm(): void {
    this.network.weather = { ...FAIR }
    this.network.blocked.clear()
    this.network.muted.clear()
    this.network.slow.clear()
  }
}

const vectorOf = (disk: Disk): Vector =>
  Object.fromEntries([...disk.facts].map(([id, { revocation, change }]) => [id, [revocation.length, change.length]]))
