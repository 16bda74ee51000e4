import { type Completions, everybodyWho, hasApplied, type Survey } from './completion.ts'
import { limits } from '../limits.ts'
import type { ProtocolCompletion } from './protocol-state.ts'

interface Ack {
  at: number
  cut: number
}

type Of = { origin: string; seq: number }

const keyOf = ({ origin, seq }: Of): string => `${origin}/${seq}`

/** What peers did about revocations, for people who look: whether anything is complete does not hang on it. */
export class Receipts {
  /** By revocation and peer: when its ack came, and what it cut. */
  readonly #acks = new Map<string, Map<string, Ack>>()

  acked(id: string, acks: readonly (Of & { cut: number })[], at: number): void {
    for (const { cut, ...fact } of acks) {
      const key = keyOf(fact)
      const by = this.#acks.get(key) ?? new Map<string, Ack>()
      if (!by.has(id)) by.set(id, { at, cut })
      this.#acks.set(key, by)
    }
    for (const key of this.#acks.keys()) {
      if (this.#acks.size <= limits.ackedRevocationsMax) break
      this.#acks.delete(key)
    }
  }

  of({ origin, seq }: Of, survey: Survey, completions: Completions): ProtocolCompletion {
    const complete = completions.isComplete(origin, seq, survey)
    const acks = this.#acks.get(keyOf({ origin, seq }))
    const ripeAt = completions.ripeAt(origin, seq)
    const removed = survey.view.at(-1)?.void ?? []
    const peers: ProtocolCompletion['peers'] = []
    for (const id of everybodyWho(survey).keys()) {
      if (id === survey.self || removed.some((one) => one.id === id)) continue
      const known = survey.told(id)?.known
      const ack = acks?.get(id)
      const acked = ack !== undefined || (known !== undefined && hasApplied(known, origin, seq))
      const state = acked ? 'acked' : complete ? 'lease_expired' : 'pending'
      const leaseEndsAt = acked ? null : ripeAt
      peers.push({ id, state, ackedAt: ack?.at ?? null, cut: ack?.cut ?? null, leaseEndsAt })
    }
    for (const { id } of removed) peers.push({ id, state: 'removed', ackedAt: null, cut: null, leaseEndsAt: null })
    return { complete, peers }
  }
}
