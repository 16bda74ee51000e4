import { type Command, Option } from 'commander'
import type { Merged, Restored } from '../restored.ts'
import type { Cli } from './cli.ts'
import { sudoCommand } from './locate.ts'
import { counted } from './output.ts'

const NAMES_SHOWN = 5

const keptText = (merged: Merged): string => {
  const { tokens, secrets, servers, apiKeys, operators, closed } = merged
  const dead = [
    [tokens, 'token'],
    [secrets, 'rotated secret'],
    [servers, 'removed server'],
    [apiKeys, 'API key'],
    [operators, 'operator'],
    [closed, 'closed gate'],
  ] as const
  const parts = dead.flatMap(([count, noun]) => (count > 0 ? [counted(count, noun)] : []))
  return parts.length === 0 ? 'Nothing had died since.' : `What ended since the backup stays so: ${parts.join(', ')}.`
}

const factsText = ({ facts }: Merged): string[] =>
  facts === 0
    ? []
    : [
        `Kept for its cluster: ${counted(facts, 'fact')} that the backup did not have. The next start applies ` +
          `${facts === 1 ? 'it' : 'them'}.`,
      ]

const goneText = ({ gone }: Merged): string[] => {
  if (gone.length === 0) return []
  const names = gone.slice(0, NAMES_SHOWN).join(', ')
  const more = gone.length > NAMES_SHOWN ? ` and ${gone.length - NAMES_SHOWN} more` : ''
  return [
    `Made since the backup, and gone, so that its holder gets 401: ${counted(gone.length, 'token')} (${names}${more}).`,
  ]
}

const lostText = ({ at, cluster }: Restored): string => {
  const since = `what was revoked after ${at}`
  return cluster
    ? `No database was in place to compare with: ${since} is dead as far as other nodes of the cluster know it.`
    : `No database was in place to compare with: ${since} is live again. Revoke it again now.`
}

/** What is to be done next where other nodes are concerned. */
const clusterText = ({ cluster, merged }: Restored): string[] => {
  if (!cluster) return []
  const { members, retired } = cluster
  const known = `It is of a cluster of ${members.join(', ')}, and lets nobody in before`
  if (!retired)
    return [
      `${known} those of them that run have told it what they know. If none of them runs any more, restore every node ` +
        'from its own backup with --whole-cluster, or, when this backup is the only one, this node with --alone.',
    ]
  if (merged) return [`${known} it knows what the others know.`]
  return [
    `${known} more than half of them are restored likewise, each from its own backup, and run. Start the one with the ` +
      'newest backup first: an older one does not know who joined later.',
  ]
}

const textOf = (restored: Restored): string => {
  const { at, folder, merged, replaced, settings } = restored
  return [
    `Restored the backup of ${at} to ${folder}.`,
    ...(merged ? [keptText(merged), ...factsText(merged), ...goneText(merged)] : [lostText(restored)]),
    ...clusterText(restored),
    ...(replaced ? [`The database that was in place is kept as ${replaced}: remove it when all is well.`] : []),
    ...(settings === 'kept' ? ["portcullis.toml stays as it is; the backup's was not used."] : []),
  ].join('\n')
}

interface Given {
  keyFile?: string
  wholeCluster?: boolean
  alone?: boolean
}

export const restoreCommand = (program: Command, cli: Cli): void => {
  program
    .command('restore')
    .description('put a backup, or a copy from before an upgrade, in place of a stopped node; no revocation is lost')
    .argument('<FILE>')
    .option('--key-file <FILE>', 'where the ring of keys goes (default: portcullis.key in the data folder)')
    .option(
      '--whole-cluster',
      'all nodes of the cluster are being restored, and none of before runs any more: they need not wait for one',
    )
    .addOption(
      new Option(
        '--alone',
        'the cluster is gone, and this is all that is left of it: the node goes on by itself, and others join it anew',
      ).conflicts('wholeCluster'),
    )
    .action(async (file: string, { keyFile, wholeCluster = false, alone = false }: Given) => {
      const { data } = cli.globals
      const sudo = (folder: string) => sudoCommand(cli.argv, folder, data !== undefined)
      const given = { ...(data !== undefined && { data }), ...(keyFile !== undefined && { keyFile }) }
      const options = { ...given, wholeCluster, alone, sudo }
      const restored = await cli.hooks.restore(file, options)
      await cli.print(restored, () => textOf(restored))
    })
}
