import { cluster, type ClusterSources } from './metrics/cluster.ts'
import { exposition } from './metrics/exposition.ts'
import { gate, type GateSources } from './metrics/gate.ts'
import { kills, type KillSources } from './metrics/kills.ts'
import { probe, type ProbeSources } from './metrics/probe.ts'
import { processMetrics, type ProcessSources } from './metrics/process.ts'
import { stdio, type StdioSources } from './metrics/stdio.ts'
import { storage, type StorageSources } from './metrics/storage.ts'

export type MetricsSources = KillSources &
  ProbeSources &
  GateSources &
  StdioSources &
  ClusterSources &
  StorageSources &
  ProcessSources

/** Asked for the metrics of a node in the text format of Prometheus. */
export const createMetrics = (sources: MetricsSources): (() => Promise<string>) => {
  const parts = [processMetrics, kills, probe, gate, stdio, cluster, storage]
  const metrics = parts.flatMap((part) => part(sources))
  return () => exposition(metrics)
}
