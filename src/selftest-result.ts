import type { Timings } from './revocation-record.ts'

/** What a test goes through, in order, and what it means when a step fails. `timeout`: all of them took too long. */
export const SELFTEST_STEPS = {
  upstream: 'no server for the test could be started on the loopback: ports or open files may be used up',
  open: 'a client with a live token gets no stream through the gate',
  commit: 'the database refused: a revocation takes effect, but is only in the journal until the database takes it',
  sync: 'commits are not synced: a power cut can lose a revocation that was acknowledged',
  cut: 'a revocation does not find the live streams of its token',
  end: 'the client of a dead token does not see its stream end',
  farewell: 'the stream did not end as it must: the client does not learn why, or got something after the cut',
  refusal: 'a dead token is not refused: revoking does not work on this node; stop it',
  row: 'what was committed is not in the database file: a restart would forget a revocation',
  chain: 'the audit log does not end as this node wrote it',
  release: 'the request to the server goes on after the cut: servers work for dead tokens',
  audit: 'the result is not in the audit log',
  timeout: 'the node is too busy, or something hangs: a kill would take as long',
} as const

export type SelfTestStep = keyof typeof SELFTEST_STEPS

export interface StepResult {
  step: SelfTestStep
  /** Skipped: a step before it failed, or took all the time. */
  state: 'passed' | 'failed' | 'skipped'
  /** What was seen, where it failed. */
  message: string | null
}

export interface SelfTestTimings extends Timings {
  /** Of the commit, the part that writes to the disk and syncs. */
  syncMs: number | null
  /** The client saw the end of its stream. */
  endSeenMs: number | null
}

export interface SelfTestResult {
  /** When it began. */
  at: number
  ok: boolean
  /** The first that failed. */
  step: SelfTestStep | null
  /** What was seen then. */
  message: string | null
  /** From the beginning to the end of the test, tidying up included. */
  tookMs: number
  /** From the revocation's start; null: not reached. */
  timings: SelfTestTimings
  steps: StepResult[]
  /** What is odd, though nothing failed. */
  remarks: string[]
}
