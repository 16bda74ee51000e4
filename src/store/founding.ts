import { setImmediate as turn } from 'node:timers/promises'
import { asc, isNotNull, isNull } from 'drizzle-orm'
import type { GateRecord } from '../emergency.ts'
import type { Fact } from '../fact.ts'
import { newId } from '../id.ts'
import type { Limits } from '../limits.ts'
import type { Actor } from '../operator.ts'
import type { Policy } from '../policy.ts'
import type { TokenIndex } from '../token-index.ts'
import type { UpstreamIndex } from '../upstream.ts'
import { apiKeyFact, apiKeyRemoved } from './apikey.ts'
import { fact } from './log.ts'
import { metaOf } from './meta.ts'
import type { Store } from './open.ts'
import { operatorFacts, OperatorStore } from './operator.ts'
import { apiKeys } from './schema.ts'
import { removeFact, ServerStore } from './server.ts'

/** A row of `meta`: as long as it stands, facts may be deleted. */
const FOUNDING = 'cluster.founding'

export interface FoundingDeps {
  store: Store
  tokens: Pick<TokenIndex, 'table' | 'at'>
  servers: Pick<UpstreamIndex, 'live'>
}

type Slices = Pick<Limits, 'foundingRowsSlice' | 'factsForgottenSlice' | 'deadPerFactMax'>
type Founding = FoundingDeps & { limits: Slices }

/**
 * Says all that this node holds anew, as facts of its own, so that from then on facts say everything: who joins pulls them
 * from the first one, and there is no other snapshot. In slices, between which the node goes on as ever; what changes
 * meanwhile is a fact behind, and wins. After a crash it is begun again: nobody has pulled before it is done.
 */
export const found = async (node: FoundingDeps, limits: Slices, actor: Actor): Promise<void> => {
  const deps = { ...node, limits }
  await forgetFacts(deps)
  // What is made from here on tells itself.
  const { client, log, node: id } = node.store
  const last = (table: 'tokens' | 'revocations') =>
    (client.query(`SELECT coalesce(max(rowid), 0) AS last FROM ${table}`).get() as { last: number }).last
  const [lastToken, lastRevocation] = [last('tokens'), last('revocations')]
  await restateRevocations(deps, lastRevocation)
  // It ran all commands by itself, whatever its id was when they were added.
  new ServerStore(deps.store).takeOver(node.servers.live(), () => true)
  restateServers(deps, actor)
  restatePeople(deps, actor)
  await restateTokens(deps, lastToken)
  await restateDead(deps, lastRevocation)
  log.change({ actor: actor.name, action: 'cluster.found', targetId: id }, [], () => metaOf(client).remove(FOUNDING))
}

/** The numbers begin at 1 again, and what stood under them before was read by nobody. */
const forgetFacts = async ({ store, limits }: Founding): Promise<void> => {
  const { client, log } = store
  const some = client.query<never, [number]>(
    'DELETE FROM facts WHERE rowid IN (SELECT rowid FROM facts ORDER BY rowid LIMIT ?)',
  )
  log.write(() => {
    metaOf(client).set(FOUNDING, String(store.now()))
    client.query("DELETE FROM registers WHERE stamp <> '~'").run()
    client.query('DELETE FROM parked').run()
  })
  for (;;) {
    const { changes } = log.write(() => some.run(limits.factsForgottenSlice))
    // In the run of the last of them: no fact is numbered in between.
    if (changes < limits.factsForgottenSlice) break
    await turn()
  }
  log.restart()
}

interface RevocationRow {
  rowid: number
  id: string
  at: number
  actor: string
  reason: string
  note: string
  selector: string
  tokens: string
}

/**
 * Of those that they killed it is said by name. They reach no others: whatever comes later is told by one who knows them,
 * also what was issued between two slices.
 */
const restateRevocations = async ({ store, limits }: Founding, last: number): Promise<void> => {
  const { client, log, db } = store
  const rows = client.query<RevocationRow, [number, number, number]>(
    `SELECT rowid, id, at, actor, reason, note, selector FROM revocations WHERE rowid > ? AND rowid <= ?
      ORDER BY rowid LIMIT ?`,
  )
  const number = client.query<never, [string, number, number]>(
    'UPDATE revocations SET origin = ?, seq = ? WHERE rowid = ?',
  )
  await inSlices(
    (after) => rows.all(after, last, limits.foundingRowsSlice),
    (slice) => {
      const facts = slice.map(({ id, at, actor, reason, note, selector }) => {
        const record = { id, at, actor, reason, note, selector: JSON.parse(selector) as unknown }
        return fact('revocation', 'token.revoke', { ...record, issuedUntil: 0 })
      })
      log.changes([], facts, () => {
        const { origin, seq } = log.nextId('revocation')
        for (const [index, { rowid }] of slice.entries()) number.run(origin, seq + index, rowid)
      })
    },
  )
  const dead = db.select().from(apiKeys).where(isNotNull(apiKeys.revokedAt)).all()
  const facts = dead.map(({ id, revokedAt }) => apiKeyRemoved(id, revokedAt ?? 0, 'system'))
  log.changes([], facts, () => {
    for (const { id } of dead) log.registers.end(`apikey:${id}`)
  })
}

const restateServers = ({ store }: FoundingDeps, { name: by }: Actor): void => {
  const all = new ServerStore(store).all()
  const gates = all.filter(({ state, removedAt }) => state === 'closed' && removedAt === null)
  store.log.changes(
    [],
    [
      ...all.map((server) => new ServerStore(store).putFact(server, by)),
      ...all.flatMap(({ id, removedAt }) => (removedAt === null ? [] : [removeFact(id, removedAt, by)])),
      ...gates.map(({ id, name, reason }): Fact => {
        const target = { id, name }
        const record: GateRecord = {
          id: newId('req'),
          at: store.now(),
          actor: by,
          action: 'close',
          servers: [target],
          all: false,
          reason,
        }
        return fact('change', 'server.close', { ...record }, [`gate:${id}`])
      }),
    ],
    () => {},
  )
}

const restatePeople = ({ store }: FoundingDeps, { name: by }: Actor): void => {
  const keys = store.db.select().from(apiKeys).where(isNull(apiKeys.revokedAt)).orderBy(asc(apiKeys.id)).all()
  const operators = new OperatorStore(store).all()
  store.log.changes(
    [],
    [...operators.flatMap((operator) => operatorFacts(operator, by)), ...keys.map(apiKeyFact)],
    () => {},
  )
}

interface TokenRow {
  rowid: number
  id: string
  name: string
  subject: string | null
  group: string | null
  createdAt: number
  createdBy: string
  expiresAt: number | null
  revokedAt: number | null
  revocationId: string | null
  policy: string | null
}

/** Tokens as they are, the dead too: whoever shows one is told that it was revoked. */
const restateTokens = async ({ store, tokens, limits }: Founding, last: number): Promise<void> => {
  const { client, log } = store
  const rows = client.query<TokenRow, [number, number, number]>(
    `SELECT rowid, id, name, subject, group_name AS "group", created_at AS createdAt, created_by AS createdBy,
      expires_at AS expiresAt, revoked_at AS revokedAt, revocation_id AS revocationId, policy
      FROM tokens WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?`,
  )
  const reach = client.query<{ id: string }, [string]>('SELECT server_id AS id FROM token_servers WHERE token_id = ?')
  const secrets = client.query<Record<string, unknown>, [string]>(
    `SELECT digest, key_id AS keyId, token_id AS tokenId, created_at AS createdAt, dies_at AS diesAt
      FROM secrets WHERE token_id = ? ORDER BY rowid`,
  )
  const setSeen = client.query<never, [number | null, number, number]>(
    'UPDATE tokens SET seen = ? WHERE rowid >= ? AND rowid <= ?',
  )
  await inSlices(
    (after) => rows.all(after, last, limits.foundingRowsSlice),
    (slice) => {
      const { seen } = log
      const facts = slice.map((stored) => {
        const { rowid: _, policy, ...row } = stored
        return fact('change', 'token.issue', {
          ...row,
          policy: policy === null ? null : (JSON.parse(policy) as Policy),
          seen,
          servers: reach.all(row.id).map(({ id }) => id),
          secrets: secrets.all(row.id),
        })
      })
      log.changes([], facts, () => {
        setSeen.run(log.seenIds.idOf(seen), slice[0]?.rowid ?? 0, slice.at(-1)?.rowid ?? 0)
      })
      for (const { id } of slice) tokens.at(tokens.table.find(id)).seen = seen
    },
  )
}

/** Which tokens died of a revocation: in pieces, since all of them may have. */
const restateDead = async ({ store, limits }: Founding, last: number): Promise<void> => {
  const { client, log } = store
  const ids = client.query<{ rowid: number }, [number, number, number]>(
    'SELECT rowid FROM revocations WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT ?',
  )
  const row = client.query<Pick<RevocationRow, 'id' | 'tokens'>, [number]>(
    'SELECT id, tokens FROM revocations WHERE rowid = ?',
  )
  let facts: Fact[] = []
  let told = 0
  const say = () => {
    if (facts.length > 0) log.changes([], facts, () => {})
    facts = []
    told = 0
  }
  await inSlices(
    (after) => ids.all(after, last, limits.foundingRowsSlice),
    async (slice) => {
      for (const { rowid } of slice) {
        const one = row.get(rowid)
        const dead = one ? (JSON.parse(one.tokens) as unknown[]) : []
        for (let start = 0; start < dead.length; start += limits.deadPerFactMax) {
          const tokens = dead.slice(start, start + limits.deadPerFactMax)
          facts.push(fact('change', 'revocation.dead', { id: one?.id, tokens }))
          told += tokens.length
          if (told < limits.deadPerFactMax) continue
          say()
          await turn()
        }
      }
      say()
    },
  )
}

/** Reads and says slice after slice, each in one run, with a turn of the loop between them. */
const inSlices = async <Row extends { rowid: number }>(
  read: (after: number) => Row[],
  say: (slice: Row[]) => void | Promise<void>,
): Promise<void> => {
  let after = 0
  for (;;) {
    const slice = read(after)
    const end = slice.at(-1)
    if (!end) return
    await say(slice)
    after = end.rowid
    await turn()
  }
}
