import type { Registry } from '../../registry.ts'
import type { Revocations } from '../../revocation.ts'
import type { Metric } from './exposition.ts'

export interface KillSources {
  revocations: Pick<Revocations, 'measures'>
  registry: Pick<Registry, 'cuts'>
}

/** What was killed, and how fast. */
export const kills = ({ revocations: { measures }, registry }: KillSources): Metric[] => [
  {
    name: 'portcullis_revocations_total',
    help: 'Revocations that killed something, by whether they were on disk when they were answered',
    type: 'counter',
    read: () => [
      [{ durable: 'true' }, measures.durable],
      [{ durable: 'false' }, measures.notDurable],
    ],
  },
  {
    name: 'portcullis_revoked_tokens_total',
    help: 'Tokens that revocations killed',
    type: 'counter',
    read: () => measures.tokens,
  },
  {
    name: 'portcullis_revocation_duration_seconds',
    help: 'From the arrival of the request to the end of each phase of a revocation',
    type: 'histogram',
    read: () => Object.entries(measures.phases).map(([phase, took]) => [{ phase }, took]),
  },
  {
    name: 'portcullis_cuts_total',
    help: 'Connections cut by cause',
    type: 'counter',
    read: () => Object.entries(registry.cuts).map(([cause, count]) => [{ cause }, count]),
  },
]
