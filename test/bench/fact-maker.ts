import { nextHlc, type StoredFact } from '../../src/fact.ts'
import { openNode } from '../support/replicated.ts'
import { answerCalls } from './child.ts'

interface Issued {
  id: string
  name: string
  secrets: { digest: string; tokenId: string }[]
}

/** At a time; all in one transaction each. */
const SLICE = 10_000

/**
 * Issued tokens of a node that nobody knows, which the stopped node of this folder then has, and its peers have not: as if
 * it alone had heard of them before that one died. `round`: they must be others each time.
 */
const make = ({ folder, tokens, round }: { folder: string; tokens: number; round: number }): number => {
  const node = openNode(folder, () => Date.now())
  const [server] = [...node.servers.byName.keys()]
  if (!server) throw new Error('the folder has no server')
  const given = { servers: [server], subject: null, group: null, expiresAt: null }
  node.issuance.issue({ ...given, name: `first ${round}` }, { name: 'local:0', role: 'owner' })
  const [like] = node.store.client
    .query<StoredFact, []>("SELECT * FROM facts WHERE kind = 'token.issue' ORDER BY rowid DESC LIMIT 1")
    .all()
  if (!like) throw new Error('an issued token left no fact')
  const payload = JSON.parse(like.payload) as Issued
  const origin = `node_away${round}`
  let hlc = like.hlc
  const factOf = (seq: number): StoredFact => {
    hlc = nextHlc(hlc, Date.now())
    const id = `tok_${Bun.randomUUIDv7('hex').replaceAll('-', '')}`
    const digest = new Bun.CryptoHasher('sha256').update(id).digest('hex')
    const secrets = payload.secrets.map((secret) => ({ ...secret, digest, tokenId: id }))
    const text = JSON.stringify({ ...payload, id, name: `away ${round} ${seq}`, secrets })
    return { origin, stream: 'change', seq, kind: 'token.issue', hlc, payload: text }
  }
  for (let made = 0; made < tokens; made += SLICE) {
    const count = Math.min(SLICE, tokens - made)
    const { count: applied } = node.replica.apply(
      Array.from({ length: count }, (_, at) => factOf(made + at + 1)),
      true,
    )
    if (applied !== count) throw new Error(`${applied} of ${count} facts were applied`)
  }
  node.close()
  return tokens
}

answerCalls({ make })
