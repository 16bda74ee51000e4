import type { MemberStatus } from '../../src/cluster-view.ts'
import type { Message } from '../../src/cluster/message.ts'
import type { MembershipChange } from '../../src/cluster/membership.ts'
import type { FactId } from '../../src/fact.ts'
import { Random } from '../support/random.ts'
import type { Break } from './breaks.ts'
import { Violation } from './checks.ts'
import type { Process } from './process.ts'
import type { Story, World } from './world.ts'

/**
 * What chance finds too seldom, told step by step: each story needs several rare things in a row, and stands for a rule
 * of the core whose loss it shows.
 */

const WAIT_MS = 60_000

const node = (world: World, name: string): Process => {
  const found = world.machines.find((machine) => machine.name === name)?.process
  if (!found) throw new Error(`no ${name} runs`)
  return found
}

const soon = (world: World, what: string, done: () => boolean): void => {
  if (!world.until(done, WAIT_MS)) throw new Violation(`the story stops: ${what}`)
}

const pass = (world: World, ms: number): void => {
  const end = world.now + ms
  world.timeline.at(end, () => {})
  world.until(() => world.now >= end, ms + 1)
}

/** Messages of some types from all others to one are lost. */
const starve = (world: World, name: string, types: readonly Message['t'][]): void => {
  const { id } = node(world, name)
  for (const other of world.processes()) {
    if (other.id !== id) world.network.muted.set(`${other.id} ${id}`, new Set(types))
  }
}

const isolate = (world: World, name: string): void => {
  const { id } = node(world, name)
  for (const other of world.processes()) {
    if (other.id === id) continue
    world.network.blocked.add(`${other.id} ${id}`)
    world.network.blocked.add(`${id} ${other.id}`)
  }
}

const issue = (world: World, by: Process): void => {
  const id = `t${(world.made += 1)}`
  by.commit('change', 'token.issue', {
    id,
    name: id,
    subject: 'ann',
    group: null,
    policy: null,
    servers: [],
    createdAt: 0,
    createdBy: 'sim',
    expiresAt: null,
    revokedAt: null,
    revocationId: null,
    secrets: [],
    seen: by.store.seen,
  })
}

const revoke = (world: World, by: Process): FactId => {
  const id = `rev${(world.made += 1)}`
  const selector = { subject: 'ann' }
  const fact = by.revoke({ id, at: 0, actor: 'sim', reason: 'other', note: '', selector, tokens: [] })
  if (!fact) throw new Error('the disk refused it')
  return fact
}

const isLinkedC = ({ id, state }: MemberStatus): boolean => id === 'c1' && state === 'linked'

/** Everybody serves, and has a token that is let in everywhere. */
const begin = (world: World): void => {
  soon(world, 'not all serve', () => [...world.processes()].every(({ fit }) => fit))
  issue(world, node(world, 'a'))
  soon(world, 'not all know the token', () => [...world.processes()].every(({ store }) => store.live.size === 1))
}

/** Begins a change and waits for its end, whichever. */
const change = (world: World, by: Process, what: MembershipChange): void => {
  const id = by.change(what)
  if (id !== null) world.until(() => by.protocol.changeOutcome(id) !== 'running', WAIT_MS)
}

const remove = (world: World, by: Process, name: string): void =>
  change(world, by, { kind: 'remove', id: node(world, name).id, force: false, secret: world.newSecret() })

/** All that know a revocation are removed, one after another, by some that never heard of it: those must not be enough. */
const ALL_LEAVE: Story = {
  name: 'all who acked are removed by those who did not',
  members: 5,
  policy: 'lease',
  run: (world) => {
    begin(world)
    starve(world, 'd', ['facts'])
    starve(world, 'e', ['facts'])
    const fact = revoke(world, node(world, 'a'))
    soon(world, 'it is not complete', () => world.checks.isComplete(fact))
    const c = node(world, 'c')
    remove(world, c, 'a')
    remove(world, c, 'b')
    isolate(world, 'c')
    soon(world, 'the links to c stay', () => !node(world, 'd').protocol.status(0).members.some(isLinkedC))
    remove(world, node(world, 'd'), 'c')
    pass(world, 10 * world.leaseMs)
  },
}

/**
 * Members agree on the policy `serve` before a revocation and learn that it was chosen after it: its floor does not have
 * the revocation, which was complete by lease. One that did not hear of it must not take the lease for over.
 */
const LEASE_ENDS: Story = {
  name: 'leases end while one did not hear of a revocation',
  members: 5,
  policy: 'lease',
  run: (world) => {
    begin(world)
    starve(world, 'd', ['facts'])
    const c = node(world, 'c')
    for (const name of ['a', 'b', 'd', 'e'])
      world.network.muted.set(`${node(world, name).id} ${c.id}`, new Set(['accepted']))
    c.change({ kind: 'policy', policy: 'serve', leaseMs: world.leaseMs })
    const accepted = (name: string) => (node(world, name).disk.state ?? '').includes('"change":"policy serve')
    soon(world, 'nobody accepted it', () => ['a', 'b', 'e'].every(accepted))
    const fact = revoke(world, node(world, 'a'))
    soon(world, 'nobody has it', () => ['b', 'c', 'e'].every((name) => node(world, name).store.live.size === 0))
    pass(world, 50)
    world.network.muted.clear()
    starve(world, 'd', ['facts'])
    soon(world, 'the policy is not chosen', () => node(world, 'd').membership.policy === 'serve')
    soon(world, 'it is not complete', () => world.checks.isComplete(fact))
    pass(world, 5 * world.leaseMs)
  },
}

/** A member of two is restored while the other has just joined, and knows nothing yet. */
export const RESTORED_ALONE: Story = {
  name: 'the only one who knows anything is restored from a backup while another joins',
  members: 1,
  policy: 'serve',
  run: (world) => {
    const random = new Random(world.seed)
    begin(world)
    const [a, b] = world.machines
    if (!a?.disk || !b) throw new Error('no machines')
    a.backups.push(a.disk.copy())
    world.askIn(b, node(world, 'a'))
    soon(world, 'b is not welcomed', () => world.joining.size === 0 || world.welcome(random) !== null)
    world.kill(node(world, 'a'), false)
    world.restore(a, (a.backups[0] as NonNullable<typeof a.disk>).copy(), true)
    world.boot(a, random)
    soon(world, 'they never serve again', () => [...world.processes()].every(({ fit }) => fit))
  },
}

/** A machine goes back to a snapshot, and its node with it: it must not use the same numbers again, nor let anybody in. */
const ROLLED_BACK: Story = {
  name: 'a machine goes back to a snapshot',
  members: 3,
  policy: 'lease',
  run: (world) => {
    const random = new Random(world.seed)
    begin(world)
    const [a] = world.machines
    const snapshot = a?.disk?.copy()
    if (!a || !snapshot) throw new Error('no machine')
    const fact = revoke(world, node(world, 'a'))
    soon(world, 'it is not complete', () => world.checks.isComplete(fact))
    world.kill(node(world, 'a'), false)
    a.disk = snapshot
    world.boot(a, random)
    const back = node(world, 'a')
    soon(world, 'it does not notice', () => back.protocol.rolledBack)
    if (back.fit) throw new Violation('it serves all the same')
    world.kill(back, false)
    world.restore(a, snapshot, false)
    world.boot(a, random)
    soon(world, 'they never serve again', () => [...world.processes()].every(({ fit }) => fit))
  },
}

export const STORIES: readonly Story[] = [ALL_LEAVE, LEASE_ENDS, ROLLED_BACK]

const FLOOR = { vector: {}, unknown: [] }

/** Without what a membership says must be known by whoever serves under it. */
const withoutFloor = (message: Message): Message => {
  switch (message.t) {
    case 'accept':
    case 'chosen':
      return { ...message, membership: { ...message.membership, floor: FLOOR } }
    case 'view':
      return { ...message, memberships: message.memberships.map((one) => ({ ...one, floor: FLOOR })) }
    default:
      return message
  }
}

/** What breaks a rule, and the story that shows it. */
export const UNTOLD: readonly { story: Story; broken: Break }[] = [
  { story: ALL_LEAVE, broken: { name: 'no floor', incoming: (_process, _peer, message) => [withoutFloor(message)] } },
  {
    story: LEASE_ENDS,
    broken: {
      name: 'a membership is over though what others knew is not known here',
      incoming: (process, _peer, message) =>
        process.machine === 'd' && process.store.live.size > 0 && (message.t === 'digest' || message.t === 'ack')
          ? [{ ...message, vector: {} }]
          : [message],
    },
  },
]
