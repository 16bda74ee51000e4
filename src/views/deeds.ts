/** Actions of the audit log as people say them: each stands between who did it, and what it was done to. */
export const VERBS: Record<string, string> = {
  'apikey.create': 'made the API key',
  'apikey.refused': 'showed an API key that is no good',
  'apikey.remove': 'removed the API key',
  'cluster.catch-up': 'brought this node up to date with',
  'cluster.change': 'changed the cluster:',
  'cluster.found': 'began a cluster with',
  'cluster.ticket': 'made a ticket for the cluster at',
  'connection.kill': 'cut one connection to',
  'gate.dead-token': 'tried the dead token',
  'gate.policy': 'was refused by the policy of the token',
  'gate.refuse': 'was refused with the token',
  'gate.unknown-token': 'tried a token that never was',
  'key.remove': 'removed the key',
  'key.rotate': 'rotated the keys; the new one is',
  'node.backup': 'took a backup of',
  'node.rename': 'gave this copy of a folder an identity of its own,',
  'node.restore': 'restored a backup to',
  'node.selftest': 'tested whether revoking works on',
  'operator.create': 'added the operator',
  'operator.link': 'made a one-time link for',
  'operator.link-failed': 'tried a link that is used or too old',
  'operator.password': 'set a password',
  'operator.remove': 'removed the operator',
  'operator.session-end': 'ended a session of',
  'operator.sign-in': 'signed in',
  'operator.sign-in-failed': 'failed to sign in',
  'operator.sign-out': 'signed out',
  'server.add': 'added the server',
  'server.change': 'changed the server',
  'server.close': 'closed the gate of',
  'server.kill': 'cut all connections of',
  'server.open': 'opened the gate of',
  'server.remove': 'removed the server',
  'token.issue': 'made the token',
  'token.policy': 'changed the policy of the token',
  'token.revoke': 'revoked',
  'token.rotate': 'gave a new secret to the token',
}

/** What is done to who does it needs no target. */
const OWN = new Set(['operator.sign-in', 'operator.sign-out', 'operator.password'])

export const verbOf = (action: string): string =>
  Object.hasOwn(VERBS, action) ? (VERBS[action] as string) : action.replaceAll(/[._-]/g, ' ')

export const isOwn = (action: string): boolean => OWN.has(action)

/** An actor as people say it: `operator:ada` is ada. `on`: the node where it was, where that is another. */
export const whoOf = (actor: string, on: string | null = null): string => {
  const colon = actor.indexOf(':')
  const [kind, name] = [actor.slice(0, Math.max(0, colon)), actor.slice(colon + 1)]
  if (actor === 'system') return 'Portcullis'
  if (actor === 'address:many') return 'many addresses'
  if (kind === 'apikey') return `API key ${name}`
  if (kind === 'local') return `user ${name} of ${on === null ? 'this machine' : `the machine of ${on}`}`
  return kind === 'address' || kind === 'operator' ? name : actor
}
