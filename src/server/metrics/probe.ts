import { type SelfTest, SELFTEST_STEPS, type SelfTestStep } from '../../selftest.ts'
import type { Metric } from './exposition.ts'

export interface ProbeSources {
  selfTest: Pick<SelfTest, 'last' | 'counts' | 'measures' | 'everyMs'>
}

/** The node's own revocations of a hidden token: whether killing works, and how fast, though nobody kills anything. */
export const probe = ({ selfTest }: ProbeSources): Metric[] => {
  const { counts, measures, everyMs } = selfTest
  const gauge = (name: string, help: string, read: () => number | null): Metric => ({ name, help, type: 'gauge', read })
  return [
    gauge(
      'portcullis_probe_success',
      '1 when the last test of a revocation passed',
      () => selfTest.last && Number(selfTest.last.ok),
    ),
    gauge(
      'portcullis_probe_timestamp_seconds',
      'When the last test of a revocation began; 0: none did since the start',
      () => (selfTest.last?.at ?? 0) / 1000,
    ),
    gauge(
      'portcullis_probe_success_timestamp_seconds',
      'When the last one that passed began; 0: none did since the start',
      () => (measures.passedAt ?? 0) / 1000,
    ),
    gauge(
      'portcullis_probe_interval_seconds',
      'How often the node tests itself; 0: only when asked',
      () => (everyMs ?? 0) / 1000,
    ),
    {
      name: 'portcullis_probe_runs_total',
      help: 'Tests of a revocation, those asked for included',
      type: 'counter',
      read: () => counts.runs,
    },
    {
      name: 'portcullis_probe_failures_total',
      help: 'Of those, failures by their first failing step',
      type: 'counter',
      read: () =>
        (Object.keys(SELFTEST_STEPS) as SelfTestStep[]).map((step) => [{ step }, counts.failures.get(step) ?? 0]),
    },
    {
      name: 'portcullis_probe_duration_seconds',
      help: 'From the start of a test revocation to the end of each phase; end_seen: its client saw the end of the stream',
      type: 'histogram',
      read: () => Object.entries(measures.phases).map(([phase, took]) => [{ phase }, took]),
    },
  ]
}
