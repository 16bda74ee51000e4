import type { MembershipChange } from '../../src/cluster/membership.ts'
import type { Membership } from '../../src/cluster/message.ts'
import type { Process } from './process.ts'
import { Random } from '../support/random.ts'
import { Violation } from './checks.ts'
import { keyOf } from './store.ts'
import type { World } from './world.ts'

/** How long people may need to put the members right, and then the nodes to be equal. */
const ADMINISTERED_MS = 300_000
const CONVERGED_MS = 30_000
/** How long one that is no member may still find its way back. */
const PATIENCE_MS = 60_000
const GIVEN_UP_MS = 150_000
const LOOKED_MS = 50
const TRIED_MS = 1_000

const isIn = (view: readonly Membership[], id: string): boolean =>
  view.some(({ members }) => members.some((member) => member.id === id))

/** All trouble ends: links, machines and disks are mended, the dead are removed. Then everybody must be equal. */
export class Healing {
  readonly #random: Random
  #triedAt = -Infinity

  readonly #beganAt: number
  /** From when on people are patient with those that are no members; later, when all else is right, they are not. */
  #startedAt: number
  readonly #tried = new Set<string>()
  #change: { by: Process; id: string } | null = null

  constructor(readonly world: World) {
    this.#beganAt = world.now
    this.#startedAt = world.now
    this.#random = new Random(world.seed ^ world.steps)
  }

  /** Throws `Violation`. */
  run(): void {
    const { world } = this
    world.trace(() => '— healing')
    world.calm()
    this.#mend()
    this.#wait(() => this.#administered(), ADMINISTERED_MS)
    world.trace(() => '— the members are right')
    this.#startedAt = -Infinity
    // A change that was under way may still end, and leave somebody else to be put right.
    this.#wait(() => this.#administered() ?? this.#lacking(), CONVERGED_MS)
    for (const { store } of world.processes()) world.checks.settled(store)
  }

  #wait(lacking: () => string | null, ms: number): void {
    const { world } = this
    let why: string | null = null
    let lookAt = world.now
    const done = () => {
      if (world.now < lookAt) return false
      lookAt = world.now + LOOKED_MS
      why = lacking()
      return why === null
    }
    if (!world.until(done, ms)) throw new Violation(`not healed within ${ms} ms: ${why}`)
  }

  #mend(): void {
    const { world } = this
    for (const machine of world.machines) {
      const { disk, process } = machine
      if (!disk) continue
      const asked = this.world.joining.has(disk.identity)
      // Whoever was not let in yet gives up.
      if (asked && ![...world.processes()].some(({ protocol }) => isIn(protocol.view, disk.identity)))
        world.destroy(machine)
      disk.broken = false
      disk.crash = null
      machine.program = 'new'
      if (process?.stopped) process.wake(this.#random.chance(0.5))
      // A program that is older than what others say is upgraded: it can't ack what it doesn't know.
      if (machine.process?.program === 'old' && machine.process.store.unknown.length > 0)
        world.kill(machine.process, false)
      world.boot(machine, this.#random)
      machine.process?.flushJournal()
    }
  }

  /** What is not right with the members yet; and does the next thing about it. */
  #administered(): string | null {
    const { world } = this
    for (const machine of world.machines) {
      if (machine.disk?.crashed || !machine.process) world.boot(machine, this.#random)
      if (machine.process?.store.understands !== false) continue
      world.kill(machine.process, false)
      world.boot(machine, this.#random)
    }
    const processes = [...world.processes()]
    const newest = this.#newest(processes)
    if (!newest) {
      // All members were lost or removed.
      if (world.now > this.#startedAt + PATIENCE_MS) for (const process of processes) this.#switchOff(process)
      return processes.length === 0 ? null : 'nobody is a member'
    }
    const { members, void: voided } = newest.membership
    const isMember = (id: string) => members.some((member) => member.id === id)
    const absent = members.filter(({ id }) => !world.process(id) && !world.joining.has(id))
    const strangers = processes.filter(({ id }) => !isMember(id))
    const unsettled = processes.filter(({ protocol, membership }) => {
      return protocol.view.length > 1 || membership.version !== newest.membership.version
    })
    const untold = [...new Set(processes.flatMap(({ protocol }) => protocol.view.flatMap((one) => one.members)))]
      .filter(({ id }) => !isMember(id))
      .concat(voided)
      .filter(({ id }) => world.gone.has(id))
    const wrong = [
      ...absent.map(({ id }) => `${id} is gone and a member`),
      ...strangers.map(({ id }) => `${id} runs and is none`),
      ...voided.map(({ id }) => `${id} is void`),
      ...[...world.joining.keys()].map((id) => `${id} joins`),
      ...unsettled.map(
        ({ id, protocol }) => `${id} has the view ${protocol.view.map(({ version }) => version).join()}`,
      ),
    ]
    if (wrong.length === 0) return null
    // Members that were never in step, and nobody beside them who was: only people could go on here, with new folders.
    if (processes.every(({ id, disk }) => disk.fresh || !isMember(id)) && world.now > this.#beganAt + GIVEN_UP_MS) {
      world.count('given up')
      for (const process of processes) this.#switchOff(process)
      return 'nobody who knows anything is a member'
    }
    if (world.now - this.#triedAt < TRIED_MS) return wrong.join(', ')
    this.#triedAt = world.now
    // One that was asked in and removed again meanwhile needs a new folder.
    for (const [id, { machine }] of world.joining) {
      if (world.now > this.#startedAt + PATIENCE_MS && !isMember(id)) world.destroy(machine)
    }
    world.welcome(this.#random)
    if (this.#running()) return wrong.join(', ')
    const steps: (() => void)[] = [
      ...absent.map(
        ({ id }) =>
          () =>
            this.#remove(newest, id),
      ),
      ...(absent.length > 0 ? [] : untold).map(
        ({ id }) =>
          () =>
            this.#try(newest, { kind: 'off', id }),
      ),
      ...(world.now > this.#startedAt + PATIENCE_MS ? strangers.map((one) => () => this.#switchOff(one)) : []),
    ]
    this.#random.any(steps)?.()
    return wrong.join(', ')
  }

  #remove(by: Process, id: string): void {
    // By force, what a majority of the members does not agree to because it is gone.
    const force = this.#tried.has(id) || this.#random.chance(0.2)
    this.#tried.add(id)
    this.world.checks.suspended ||= force
    this.#try(by, { kind: 'remove', id, force, secret: this.world.newSecret() })
  }

  #try(by: Process, change: MembershipChange): void {
    const id = by.change(change)
    this.#change = id === null ? null : { by, id }
  }

  #running(): boolean {
    return (
      this.#change !== null &&
      !this.#change.by.dead &&
      this.#change.by.protocol.changeOutcome(this.#change.id) === 'running'
    )
  }

  /** Whoever is no member is stopped at last; it must not have served, which the checks see. */
  #switchOff({ machine }: Process): void {
    const found = this.world.machines.find(({ name }) => name === machine)
    if (found) this.world.destroy(found)
  }

  #newest(processes: readonly Process[]): Process | undefined {
    return processes
      .filter(({ id, membership }) => membership.members.some((member) => member.id === id))
      .toSorted((a, b) => b.membership.version - a.membership.version)[0]
  }

  /** What is not equal yet, or not as it should be; null: nothing. */
  #lacking(): string | null {
    const { world } = this
    const [first, ...others] = [...world.processes()]
    if (!first) return null
    const print = first.store.fingerprint()
    for (const { id, store } of others) if (store.fingerprint() !== print) return `${id} differs from ${first.id}`
    for (const process of world.processes()) {
      if (!process.fit)
        return `${process.id} does not serve: ${JSON.stringify(process.protocol.standing(process.mono))}`
      if (process.store.unknown.length > 0) continue
      const open = process.store.revocations.find((revocation) => !process.askCompletion(revocation))
      if (open) return `${process.id} does not call ${keyOf(open)} complete`
    }
    return null
  }
}
