import type { Node } from '../../node.ts'
import type { Actor } from '../../operator.ts'
import type { CutResult } from '../../registry.ts'
import { formatTime } from '../../time.ts'
import type { OutcomeCard } from '../../views/outcome.tsx'

interface Asked {
  actor: Actor
  arrivedAt: number
}

type Done = CutResult & { durable?: boolean; lostOnRestart?: true }

/**
 * What was done, for the screen. Its row is the log's head only in the run that wrote it, so that nothing may be awaited
 * between the change and this.
 */
export const outcomeOf = async (
  node: Node,
  { actor, arrivedAt }: Asked,
  { cut, lastCutAt, durable = true, lostOnRestart }: Done,
  reason: string | null = null,
): Promise<OutcomeCard> => {
  const at = formatTime(node.now())
  const auditSequence = durable ? node.reads.auditHead().sequence : null
  const endedAt = await lastCutAt
  const lastCutMs = endedAt === null ? null : Math.round((endedAt - arrivedAt) * 1_000) / 1_000
  return {
    at,
    actor: actor.name,
    reason: reason?.trim() || null,
    cut,
    lastCutMs,
    durable,
    lostOnRestart: lostOnRestart ?? false,
    auditSequence,
  }
}

/** Insufficient storage (RFC 4918, 11.5) where it is in force and the database does not have it yet. */
export const statusOfOutcome = ({ durable }: OutcomeCard): number => (durable ? 200 : 507)
