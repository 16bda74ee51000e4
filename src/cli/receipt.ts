import type { RevocationJson } from './answers.ts'
import { clean, counted, millis, table } from './output.ts'

type Peer = RevocationJson['peers'][number]

const dead = ({ tokens }: RevocationJson): string =>
  table(
    ['ID', 'NAME', 'SUBJECT'],
    tokens.map((t) => [t.id, t.name, t.subject ?? '-']),
    '',
  )

const cutLine = ({ connections, timings }: RevocationJson): string => {
  const cut = `cut ${counted(connections.cut, 'connection')}`
  return `${cut}, last in ${millis(timings.lastCutMs)}, commit ${millis(timings.commitMs)}`
}

/** Until when a node that did not answer can let in what was revoked. */
const reach = ({ leaseEndsAt }: Peer): string =>
  leaseEndsAt === undefined ? 'until it is reached, or off' : `until ${leaseEndsAt} at the latest`

const SAYS: Record<Peer['state'], (peer: Peer) => string> = {
  acked: ({ ms, cut }) =>
    `acked${ms === null ? '' : ` in ${millis(ms)}`}${cut === null ? '' : `, cut ${counted(cut, 'connection')}`}`,
  pending: (peer) => `has not acked, and may let these tokens in ${reach(peer)}`,
  lease_expired: () => 'has not acked, and lets nobody in any more: its lease has run out',
  removed: (peer) => `was removed and has not acked; if it still runs, it may let these tokens in ${reach(peer)}`,
}

const peerLine = (peer: Peer): string => `node ${clean(peer.node)}: ${SAYS[peer.state](peer)}`

/** In one sentence, what the whole cluster makes of it; null where there is no other node. */
const completeLine = ({ complete, durable, peers }: RevocationJson): string | null => {
  if (complete) return peers.length === 0 ? null : 'Complete: no node of the cluster lets these tokens in any more.'
  const missing = peers.filter(({ state }) => state === 'pending' || state === 'removed').map(({ node }) => clean(node))
  if (missing.length === 0) {
    return durable ? 'Not complete yet: `portcullis cluster status` says what it waits for.' : null
  }
  return `NOT COMPLETE: waits for ${missing.join(', ')}. \`portcullis cluster status\` lists it until it is complete.`
}

/** What a revocation would do, or did, to tokens that were named, or to whatever matched. */
export const receipt = (revocation: RevocationJson, named = false): string => {
  const { tokens, peers } = revocation
  const count = counted(tokens.length, 'token')
  const acrossNodes = [...peers.map(peerLine), ...[completeLine(revocation)].filter((line) => line !== null)]
  if (tokens.length === 0) {
    const nothing = named
      ? 'Already dead: there was nothing alive to revoke.'
      : 'Nothing that is alive matches: nothing was revoked.'
    return [nothing, ...(revocation.dryRun ? [] : acrossNodes)].join('\n')
  }
  if (revocation.dryRun) return `${count} would die:\n${dead(revocation)}`
  return [
    `Revoked ${count} (${revocation.reason}):`,
    dead(revocation),
    cutLine(revocation),
    ...acrossNodes,
    ...(tokens.length === 1 ? [`What it did before: portcullis token activity ${tokens[0]?.id}`] : []),
  ].join('\n')
}
