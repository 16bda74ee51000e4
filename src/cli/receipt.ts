import type { RevocationJson } from './answers.ts'
import { clean, counted, millis, table } from './output.ts'

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

/** What a revocation would do, or did, to tokens that were named, or to whatever matched. */
export const receipt = (revocation: RevocationJson, named = false): string => {
  const { tokens, peers } = revocation
  const count = counted(tokens.length, 'token')
  if (tokens.length === 0) {
    return named
      ? 'Already dead: there was nothing alive to revoke.'
      : 'Nothing that is alive matches: nothing was revoked.'
  }
  if (revocation.dryRun) return `${count} would die:\n${dead(revocation)}`
  return [
    `Revoked ${count} (${revocation.reason}):`,
    dead(revocation),
    cutLine(revocation),
    ...peers.map((peer) => `peer ${clean(peer.node)}: ${clean(peer.state)} in ${millis(peer.ms)}, cut ${peer.cut}`),
    ...(revocation.complete ? [] : [`Not complete yet: see GET /api/v1/revocations/${clean(revocation.id)}`]),
    ...(tokens.length === 1 ? [`What it did before: portcullis token activity ${tokens[0]?.id}`] : []),
  ].join('\n')
}
