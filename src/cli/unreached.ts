import type { ClusterJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { age, clean, warn } from './output.ts'

/** Says of which nodes a change can't be in force yet, since this one does not reach them. */
export const warnOfUnreached = async (cli: Cli): Promise<void> => {
  const cluster = await cli.client().get<ClusterJson>('/cluster')
  if (!cluster.clustered) return
  const away = cluster.members.filter(({ state }) => state === 'unreachable').map(({ name }) => clean(name))
  if (away.length === 0) return
  const they = away.length === 1 ? 'it' : 'each of them'
  await warn(
    cluster.policy === 'lease'
      ? `Not reached: ${away.join(', ')}. Cut off from a majority, ${they} lets nobody in after ${age(cluster.leaseMs)}.`
      : `NOT REACHED: ${away.join(', ')}. Under the policy serve ${they} may go on as before, until it is back.`,
  )
}
