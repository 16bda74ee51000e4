import type { Command } from 'commander'
import type { ClusteredJson, ClusterJson, ClusterTicketJson, MemberRemovedJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { age, ago, clean, counted, fields, millis, table, warn } from './output.ts'

type Member = ClusteredJson['members'][number]

const LOOPBACK = /^(?:127\.|\[::1\]$|localhost$)/

const aloneText = ({ node }: ClusterJson): string =>
  [
    `Node ${clean(node.name)} stands alone: it is in no cluster.`,
    'Started with --cluster-listen HOST:PORT, `portcullis cluster ticket` makes it the first member of one.',
  ].join('\n')

/** Why this node lets nobody in, for somebody who was woken up. */
const UNFIT: Record<NonNullable<ClusteredJson['reason']>, string> = {
  not_synced: 'This node lets nobody in: it does not know yet what the other nodes know.',
  node_stale: 'This node lets nobody in: its lease has run out, as it hears from no majority of the members.',
}

/** What must be known first, in one sentence. */
const verdict = (cluster: ClusteredJson): string => {
  const { reason, restored, isolated, leaseLeftMs, incompleteCount, members, void: gone } = cluster
  if (restored) {
    return 'NOT SERVING  This folder was restored or copied. It lets nobody in until the members have put it in its former place.'
  }
  if (members.every(({ state }) => state !== 'self')) {
    return 'NOT SERVING  This node is no member any more, and lets nobody in. To join again it needs an empty data folder.'
  }
  if (reason !== null) return `NOT SERVING  ${UNFIT[reason]}`
  if (isolated) {
    return leaseLeftMs === null
      ? 'ISOLATED  This node hears from no majority of the members, and goes on with what it knows.'
      : `ISOLATED  This node hears from no majority of the members, and lets nobody in from ${seconds(leaseLeftMs)} on.`
  }
  const revocations = counted(incompleteCount, 'revocation')
  if (incompleteCount > 0) {
    const which = incompleteCount === 1 ? 'is' : 'are'
    return `INCOMPLETE  ${revocations} ${which} not known to be complete: some node may still let those tokens in.`
  }
  const unreachable = members.filter(({ state }) => state === 'unreachable').map(({ name }) => clean(name))
  if (unreachable.length > 0) return `DEGRADED  Not reachable from here: ${unreachable.join(', ')}.`
  if (gone.length > 0) return 'DEGRADED  A node that was removed by force is not known to be off.'
  return 'OK  All members are linked, and every revocation is complete.'
}

const seconds = (ms: number): string => `${(Math.max(0, ms) / 1000).toFixed(1)} s`

const STATES: Record<Member['state'], string> = {
  self: 'this node',
  linked: 'linked',
  unreachable: 'UNREACHABLE',
  joining: 'joining',
}

const behindOf = ({ state, behind }: Member, own: number): string => {
  const count = state === 'self' ? own : behind
  return count === null ? '?' : String(count)
}

const memberTable = ({ members, behind }: ClusteredJson): string =>
  table(
    ['NODE', 'STATE', 'ROUND TRIP', 'BEHIND', 'HEARD', 'VERSION', 'URL'],
    members.map((member) => [
      member.name,
      STATES[member.state],
      millis(member.roundTripMs),
      behindOf(member, behind),
      member.state === 'self' ? '-' : ago(member.heardAt),
      member.version ?? '?',
      member.url,
    ]),
    '',
  )

const incompleteText = ({ incomplete, incompleteCount }: ClusteredJson): string[] => {
  if (incompleteCount === 0) return []
  const rows = incomplete.map(({ id, waitsFor }) => [id, waitsFor.join(', ') || '-'])
  const more = incompleteCount - incomplete.length
  return [
    '',
    table(['NOT COMPLETE', 'WAITS FOR'], rows, ''),
    ...(more > 0 ? [`and ${counted(more, 'more', 'more')}`] : []),
  ]
}

const voidText = ({ void: gone }: ClusteredJson): string[] =>
  gone.flatMap(({ name, url }) => [
    '',
    `${clean(name)} (${clean(url)}) was removed by force and may still run: until it is known to be off, nothing is complete.`,
    `Once it is: portcullis cluster remove ${clean(name)} --off`,
  ])

const leaseText = ({ policy, leaseMs, leaseLeftMs }: ClusteredJson): string => {
  if (policy === 'serve') return 'serve: a node that hears from no majority goes on'
  const left = leaseLeftMs === null ? '' : `; ${seconds(leaseLeftMs)} left here`
  return `lease of ${age(leaseMs)}: a node that hears from no majority stops${left}`
}

const statusText = (cluster: ClusteredJson): string =>
  [
    verdict(cluster),
    '',
    fields([
      ['Cluster', `${cluster.id}, ${counted(cluster.members.length, 'member')}, by ${cluster.transport}`],
      ['Policy', leaseText(cluster)],
      ...(cluster.changing === null ? [] : [['Changing', cluster.changing] as [string, string]]),
    ]),
    '',
    memberTable(cluster),
    ...incompleteText(cluster),
    ...voidText(cluster),
  ].join('\n')

const ticketText = ({ ticket, expiresAt, url }: ClusterTicketJson): string =>
  [
    `A ticket for one node to join this cluster. It works once, until ${expiresAt}:`,
    '',
    ticket ?? '(already shown once)',
    '',
    'On the other machine, with an empty data folder; HOST:PORT is where the others reach it:',
    `  portcullis serve --cluster-listen HOST:PORT --cluster-join ${url} --ticket ${ticket ?? 'TICKET'}`,
  ].join('\n')

const removedText = ({ name, off }: MemberRemovedJson, said: boolean): string => {
  if (said && off) return `${clean(name)} is off: what is revoked from now on can be complete without it.`
  return off
    ? `${clean(name)} is removed: it stops when it hears of that, or when its lease has run out.`
    : [
        `${clean(name)} is removed, and may still run: it can let in what was revoked, and no revocation is complete`,
        `until it is known to be off. Once it is: portcullis cluster remove ${clean(name)} --off`,
      ].join('\n')
}

const EXAMPLES = `
Three commands make a cluster. On the first machine, 10.0.0.1:
  portcullis serve --cluster-listen 10.0.0.1:7072
  portcullis cluster ticket
On the second, 10.0.0.2, with the ticket:
  portcullis serve --cluster-listen 10.0.0.2:7072 --cluster-join ws://10.0.0.1:7072 --ticket pcj_…
On any of them:
  portcullis cluster status`

export const clusterCommand = (program: Command, cli: Cli): void => {
  const cluster = program
    .command('cluster')
    .description('several nodes that hold the same, so that a revocation on one holds on all')
    .addHelpText('after', EXAMPLES)

  cluster
    .command('ticket')
    .description('print a one-time ticket to join with, good for 10 minutes; the first one makes the cluster')
    .action(async () => {
      const made = await cli.client().post<ClusterTicketJson>('/cluster/tickets')
      await cli.print(made, () => ticketText(made))
      if (!cli.json && LOOPBACK.test(URL.parse(made.url)?.hostname ?? '')) {
        await warn(
          [
            `${made.url} is reached from this machine alone. For others, start this node with --cluster-listen on an address`,
            'of the network. A second node on this machine also needs its own --data, --listen, --console and --node-name.',
          ].join('\n'),
        )
      }
    })

  cluster
    .command('status')
    .description('members, links, round trip, how far behind each is, lease left, what is not complete')
    .action(async () => {
      const shown = await cli.client().get<ClusterJson>('/cluster')
      await cli.print(shown, () => (shown.clustered ? statusText(shown) : aloneText(shown)))
    })

  cluster
    .command('remove')
    .description('remove a member; the node itself leaves')
    .argument('<NODE>', 'its name or id')
    .option('--force', 'without the agreement of a majority, or though it may go on letting in what was revoked')
    .option('--off', 'say that a node that was removed by force is off for good')
    .addHelpText(
      'after',
      `
A member that can be reached stops by itself. One that can't is removed at once under the policy lease, since it
stops with its lease. Under serve it may go on: then --force, and no revocation is complete until you say --off.
A stolen machine knows the keys: also portcullis key rotate, and portcullis key rm the old one with --revoke.

  portcullis cluster remove b
  portcullis cluster remove b --force        b is lost, and can't be asked
  portcullis cluster remove b --off          b was switched off since`,
    )
    .action(async (node: string, { force, off }: { force?: boolean; off?: boolean }) => {
      const query = { ...(force && { force: 'true' }), ...(off && { off: 'true' }) }
      const removed = await cli.client().delete<MemberRemovedJson>(`/cluster/members/${segment(node)}`, query)
      await cli.print(removed ?? {}, () => (removed ? removedText(removed, off === true) : `${node} is removed.`))
    })
}
