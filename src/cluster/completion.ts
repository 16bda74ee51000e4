import { type FactId, reachOf } from '../fact.ts'
import { allLease, everybodyIn, longestLeaseMs, majorityOf } from './membership.ts'
import type { Known, Membership } from './message.ts'
import type { Told } from './known.ts'

/** What is known of all members, at one moment. */
export interface Survey {
  self: string
  view: readonly Membership[]
  known: Known
  told(member: string): Told | null
}

/** One origin's revocations. A reach: all up to that number. */
interface Origin {
  /** Not known to be complete, ascending: eight bytes each, and each is a row on disk besides. */
  open: number[]
  /** How many of `open` are behind us. */
  head: number
  /** Complete. */
  reach: number
  /** Acked by majorities; and when each reach of those will be complete, as leases that were granted before have run out. */
  byMajority: number
  ripening: { reach: number; at: number }[]
}

const keyOf = (origin: string, seq: number): string => `${origin}/${seq}`

/** Of a revocation, by a member: applied. */
export const hasApplied = ({ vector, unknown }: Known, origin: string, seq: number): boolean =>
  reachOf(vector, origin, 'revocation') >= seq && !unknown.some((fact) => fact.origin === origin && fact.seq === seq)

/**
 * Which revocations are complete: nobody anywhere can let in what they killed. By acks: all members of all memberships
 * that anybody who acked reckons with have acked. By lease: majorities of each of those have, and what was granted before
 * has run out; whoever is granted a lease later is granted it by one who acked, and so knows the revocation.
 */
export class Completions {
  readonly #origins = new Map<string, Origin>()
  /** Some member keeps them without knowing what they mean: looked at one by one, and complete only when all have applied them. */
  readonly #odd = new Map<string, FactId>()
  readonly #completed: FactId[] = []

  constructor(
    readonly leaseGuard: number,
    /** Reaches that ripen within so much are one: none earlier than it should. */
    readonly stepMs: number,
  ) {}

  watch(origin: string, seq: number): void {
    const { open, head } = this.#origin(origin)
    // They come in order, but for those that a start finds on its disk.
    let at = open.length
    for (let low = (open.at(-1) ?? 0) < seq ? at : head; low < at;) {
      const middle = (low + at) >> 1
      if ((open[middle] ?? 0) < seq) low = middle + 1
      else at = middle
    }
    if (open[at] !== seq) open.splice(at, 0, seq)
  }

  #origin(origin: string): Origin {
    let found = this.#origins.get(origin)
    if (!found) this.#origins.set(origin, (found = { open: [], head: 0, reach: 0, byMajority: 0, ripening: [] }))
    return found
  }

  /** Not as long as one that was removed by force may run: its word, and what others said of it, are worth nothing. */
  isComplete(origin: string, seq: number, survey: Survey): boolean {
    return !isVoid(survey) && seq <= (this.#origins.get(origin)?.reach ?? 0) && !this.#odd.has(keyOf(origin, seq))
  }

  /** When a revocation is complete by lease; null: no majority has acked it yet. */
  ripeAt(origin: string, seq: number): number | null {
    return this.#origins.get(origin)?.ripening.find(({ reach }) => reach >= seq)?.at ?? null
  }

  take(max: number, survey: Survey): FactId[] {
    return isVoid(survey) ? [] : this.#completed.splice(0, max)
  }

  waits(survey: Survey): boolean {
    return this.#completed.length > 0 && !isVoid(survey)
  }

  /** After a member, or this node, told more of an origin. Costs the members, and what is complete now. */
  update(origin: string, survey: Survey, now: number): void {
    const watch = this.#origin(origin)
    const reaches = reachesOf(origin, survey)
    const byMajority = majorityReach(reaches, survey)
    if (byMajority > watch.byMajority) {
      watch.byMajority = byMajority
      // Whatever happens to memberships later: all that was granted without knowing these is over by then.
      const at = now + longestLeaseMs(viewsOf([...reaches.keys()], survey)) * this.leaseGuard
      const last = watch.ripening.at(-1)
      if (last && at <= last.at) last.reach = byMajority
      else watch.ripening.push({ reach: byMajority, at: at + this.stepMs })
    }
    this.#advance(origin, watch, Math.min(...reaches.values()), survey, now)
  }

  updateAll(survey: Survey, now: number): void {
    for (const origin of this.#origins.keys()) this.update(origin, survey, now)
  }

  /** What ripened. */
  tick(survey: Survey, now: number): void {
    for (const [origin, watch] of this.#origins) {
      if (watch.ripening.length > 0) this.#advance(origin, watch, 0, survey, now)
    }
    if (this.#odd.size === 0 || isVoid(survey)) return
    const everybody = [...everybodyWho(survey).keys()]
    for (const [key, fact] of this.#odd) {
      const applied = (id: string) => {
        const known = knownOf(id, survey)
        return known !== null && hasApplied(known, fact.origin, fact.seq)
      }
      if (!everybody.every(applied)) continue
      this.#odd.delete(key)
      this.#completed.push(fact)
    }
  }

  #advance(origin: string, watch: Origin, byAll: number, survey: Survey, now: number): void {
    // One that was removed by force may let in anybody: nothing is complete until it is known to be off.
    if (isVoid(survey)) return
    let reach = Math.max(watch.reach, byAll)
    while (watch.ripening[0] && watch.ripening[0].at <= now) {
      reach = Math.max(reach, watch.ripening[0].reach)
      watch.ripening.shift()
    }
    watch.reach = reach
    const { open } = watch
    if ((open[watch.head] ?? Infinity) > reach) return
    const odd = oddOf(origin, survey)
    for (let seq = open[watch.head]; seq !== undefined && seq <= reach; seq = open[watch.head]) {
      const fact: FactId = { origin, stream: 'revocation', seq }
      if (odd.has(seq)) this.#odd.set(keyOf(origin, seq), fact)
      else this.#completed.push(fact)
      watch.head += 1
    }
    if (watch.head > 1_000 && watch.head > open.length / 2) {
      watch.open = open.slice(watch.head)
      watch.head = 0
    }
  }
}

const isVoid = ({ view }: Survey): boolean => (view.at(-1)?.void.length ?? 0) > 0

const knownOf = (id: string, { self, known, told }: Survey): Known | null =>
  id === self ? known : (told(id)?.known ?? null)

/** Revocations that somebody keeps without knowing what they mean. */
const oddOf = (origin: string, survey: Survey): Set<number> =>
  new Set(
    [...everybodyWho(survey).keys()]
      .flatMap((id) => knownOf(id, survey)?.unknown ?? [])
      .flatMap((fact) => (fact.origin === origin ? [fact.seq] : [])),
  )

/** This node's memberships and those that these members told. */
const viewsOf = (members: readonly string[], { self, view, told }: Survey): Membership[] => [
  ...view,
  ...members.flatMap((id) => (id === self ? [] : (told(id)?.view ?? []))),
]

/** Members of any membership that this node, or a member that it knows of, reckons with. */
export const everybodyWho = (survey: Survey): Map<string, unknown> => {
  const found = new Map<string, unknown>(everybodyIn(survey.view))
  // A map that grows while it is walked is walked to its new end.
  for (const id of found.keys()) {
    for (const other of everybodyIn(survey.told(id)?.view ?? []).keys()) found.set(other, true)
  }
  return found
}

const reachesOf = (origin: string, survey: Survey): Map<string, number> =>
  new Map(
    [...everybodyWho(survey).keys()].map((id) => [
      id,
      reachOf(knownOf(id, survey)?.vector ?? {}, origin, 'revocation'),
    ]),
  )

/** How far majorities of each membership that those who acked reckon with have acked, this node among them. */
const majorityReach = (reaches: ReadonlyMap<string, number>, survey: Survey): number => {
  const own = reaches.get(survey.self) ?? 0
  for (const reach of [...new Set(reaches.values())].toSorted((a, b) => b - a)) {
    if (reach === 0 || reach > own) continue
    const ackers = [...reaches].flatMap(([id, at]) => (at >= reach ? [id] : []))
    const views = viewsOf(ackers, survey)
    if (!allLease(views)) continue
    const enough = views.every(
      (membership) => membership.members.filter(({ id }) => ackers.includes(id)).length >= majorityOf(membership),
    )
    if (enough) return reach
  }
  return 0
}
