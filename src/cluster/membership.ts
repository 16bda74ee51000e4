import type { ClusterPolicy } from '../cluster-view.ts'
import { conflict, invalid, notFound } from '../error.ts'
import { limits } from '../limits.ts'
import type { Member, Membership, MembershipId } from './message.ts'

/** One change of who counts, or how. `secret`: that of the cluster from then on, sealed; without it the old one stays. */
export type MembershipChange =
  | { kind: 'add'; member: Member }
  /** `force`: though it may go on serving, or without the agreement of a majority. */
  | { kind: 'remove'; id: string; force: boolean; secret: string }
  /** A member whose folder is gone, by the one that takes its place. `off`: it certainly runs nowhere any more. */
  | { kind: 'replace'; id: string; member: Member; off: boolean; secret: string }
  | { kind: 'policy'; policy: ClusterPolicy | 'auto'; leaseMs: number }
  /** One that was removed, by force or before it told that it knows, is off. */
  | { kind: 'off'; id: string }
  /** Whose proposer is gone: it may have been chosen, and nobody knows. */
  | { kind: 'finish'; version: number }

/** What a membership says, before it has a version and a ballot. */
export type Draft = Omit<Membership, 'version' | 'ballot' | 'floor' | 'actor'>

type Ordered = Pick<Membership, 'version' | 'ballot'>

/** Two of one version exist only after a removal by force; then the ballot decides, everywhere alike. */
export const isNewer = (a: Ordered, b: Ordered): boolean =>
  a.version !== b.version ? a.version > b.version : a.ballot > b.ballot

export const isSame = (a: Ordered, b: Ordered): boolean => a.version === b.version && a.ballot === b.ballot

export const idsOf = (view: readonly Membership[]): MembershipId[] =>
  view.map(({ version, ballot }) => [version, ballot])

/** The memberships that these name, of those that are known; null: one is not. */
export const resolve = (ids: readonly MembershipId[], known: readonly Membership[]): Membership[] | null => {
  const found = ids.flatMap(([version, ballot]) => known.find((one) => isSame(one, { version, ballot })) ?? [])
  return found.length === ids.length ? found : null
}

export const isMember = ({ members }: Membership, id: string): boolean => members.some((member) => member.id === id)

export const majorityOf = ({ members }: Membership): number => Math.floor(members.length / 2) + 1

/** Everybody in any of the memberships. */
export const everybodyIn = (view: readonly Membership[]): Map<string, Member> =>
  new Map(view.flatMap(({ members }) => members.map((member) => [member.id, member] as const)))

/** A lease is needed when any membership asks for it; it excuses who can't be reached only when all do. */
export const someLease = (view: readonly Membership[]): boolean => view.some(({ policy }) => policy === 'lease')
export const allLease = (view: readonly Membership[]): boolean => view.every(({ policy }) => policy === 'lease')

/** One's own lease by the shortest, waiting for those of others by the longest. */
export const shortestLeaseMs = (view: readonly Membership[]): number => Math.min(...view.map(({ leaseMs }) => leaseMs))
export const longestLeaseMs = (view: readonly Membership[]): number => Math.max(...view.map(({ leaseMs }) => leaseMs))

const LEASE_FROM = 3

/** With two, the death of one would stop the other. */
export const policyFor = (members: number): ClusterPolicy => (members >= LEASE_FROM ? 'lease' : 'serve')

const withMembers = (now: Membership, members: readonly Member[], change: Partial<Draft>): Draft => ({
  members,
  policy: now.auto ? policyFor(members.length) : now.policy,
  auto: now.auto,
  leaseMs: now.leaseMs,
  void: now.void,
  off: [],
  heir: now.heir,
  secret: now.secret,
  change: '',
  ...change,
})

const nameOf = (now: Membership, id: string): string =>
  [...now.members, ...now.void].find((member) => member.id === id)?.name ?? id

/** The next step towards a change, one member at a time; null: nothing is left to do. Throws what is wrong with it. */
export const nextStep = (now: Membership, change: MembershipChange): Draft | null => {
  switch (change.kind) {
    case 'add':
      return add(now, change.member)
    case 'remove':
      if (!isMember(now, change.id)) return null
      return remove(now, change.id, change.secret, change.force)
    case 'replace': {
      // In two steps: majorities of memberships that follow each other must meet, and with one in, one out they need not.
      if (!isMember(now, change.id)) return add(now, change.member)
      const off = change.off ? [change.id] : []
      const step = { off, heir: change.member, secret: change.secret || now.secret }
      return { ...remove(now, change.id, change.secret, !change.off && now.policy === 'serve'), ...step }
    }
    case 'policy': {
      const auto = change.policy === 'auto'
      const policy = change.policy === 'auto' ? policyFor(now.members.length) : change.policy
      if (now.auto === auto && now.policy === policy && now.leaseMs === change.leaseMs) return null
      const told = `policy ${change.policy}, lease ${change.leaseMs} ms`
      return withMembers(now, now.members, { policy, auto, leaseMs: change.leaseMs, change: told })
    }
    case 'finish':
      return now.version >= change.version ? null : withMembers(now, now.members, { change: 'confirmed' })
    case 'off': {
      const rest = now.void.filter(({ id }) => id !== change.id)
      if (rest.length === now.void.length && now.off.includes(change.id)) return null
      return withMembers(now, now.members, { void: rest, off: [change.id], change: `off ${nameOf(now, change.id)}` })
    }
  }
}

const add = (now: Membership, member: Member): Draft | null => {
  if (isMember(now, member.id)) return null
  if (now.members.length >= limits.membersMax) throw conflict(`a cluster has at most ${limits.membersMax} members`)
  return withMembers(now, [...now.members, member], {
    heir: now.heir?.id === member.id ? null : now.heir,
    change: `add ${member.name}`,
  })
}

const remove = (now: Membership, id: string, secret: string, intoVoid: boolean): Draft => {
  const members = now.members.filter((member) => member.id !== id)
  if (members.length === 0) throw conflict('it is the last member: stop it, nothing else is left of the cluster')
  const left = now.members.filter((member) => member.id === id)
  return withMembers(now, members, {
    void: intoVoid ? [...now.void, ...left] : now.void,
    secret: secret || now.secret,
    change: `remove ${nameOf(now, id)}`,
  })
}

/** Refuses at once what can never be done. */
export const checkChange = (view: readonly Membership[], change: MembershipChange, gone: readonly string[]): void => {
  const now = view.at(-1) as Membership
  if ((change.kind === 'add' || change.kind === 'replace') && gone.includes(change.member.id)) {
    throw conflict(`${change.member.name} was removed: let it join with a new, empty data folder`)
  }
  if (change.kind === 'remove' && !isMember(now, change.id)) throw notFound(`no member ${change.id}`)
  const left = everybodyIn([...view, { ...now, members: now.void }])
  if (change.kind === 'off' && (isMember(now, change.id) || !left.has(change.id))) {
    throw notFound(`no removed member ${change.id} is waited for`)
  }
  if (change.kind === 'policy' && (change.leaseMs < limits.leaseMsMin || change.leaseMs > limits.leaseMsMax)) {
    throw invalid(`a lease takes ${limits.leaseMsMin} to ${limits.leaseMsMax} ms`)
  }
  if (change.kind !== 'off' && view.length >= limits.membershipsWaitingMax) {
    throw conflict('too many changes wait for a member that was removed: say that it is off')
  }
  nextStep(now, change)
}
