export const REASONS = [
  'compromised',
  'rogue_behavior',
  'offboarding',
  'role_change',
  'rotation',
  'lost_device',
  'policy',
  'other',
] as const
export type Reason = (typeof REASONS)[number]

/** Which tokens die: ids are joined by OR, everything else by AND. Subject and group are folded. */
export interface Selector {
  tokens?: string[]
  subject?: string
  group?: string
  /** A server's id; several, where more than one that lives had the name. */
  server?: string | string[]
  /** Milliseconds since the epoch: tokens made before it. */
  issuedBefore?: number
  all?: true
}

/** The servers that a selector names; null: it names none. */
export const serversOf = ({ server }: Pick<Selector, 'server'>): readonly string[] | null =>
  server === undefined ? null : typeof server === 'string' ? [server] : server

/** An irreversible fact. */
export interface RevocationRecord {
  id: string
  at: number
  actor: string
  reason: Reason
  note: string
  selector: Selector
  tokens: { id: string; name: string; subject: string | null }[]
}

/** Milliseconds from the request's arrival; null where there was nothing to measure. */
export interface Timings {
  commitMs: number | null
  /** Denied in memory: no request passes any more. */
  deniedMs: number | null
  firstCutMs: number | null
  lastCutMs: number | null
  /** The last request to a server was cancelled; not known yet when the revocation is answered, if there are many. */
  upstreamCancelledMs: number | null
}

export const NOT_MEASURED: Timings = {
  commitMs: null,
  deniedMs: null,
  firstCutMs: null,
  lastCutMs: null,
  upstreamCancelledMs: null,
}

export interface Receipt extends RevocationRecord {
  dryRun: boolean
  cut: number
  timings: Timings
  durable: boolean
  /** Neither the database nor the journal could be written: in force until this process ends. */
  lostOnRestart?: true
}
