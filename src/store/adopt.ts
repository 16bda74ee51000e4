import { conflict } from '../error.ts'
import { KeyRing, type RingKey } from '../key.ts'
import { ClusterStore } from './cluster.ts'
import { writeKeyFile } from './keyfile.ts'
import { metaOf } from './meta.ts'
import { ADOPTING, type Store } from './open.ts'

/** What a joiner gets of its cluster: the keys that all nodes share, and the id of the database that they are for. */
export interface Ring {
  database: string
  keys: RingKey[]
}

/** Throws `conflict` for a folder that holds what the cluster does not know. */
export const checkEmpty = ({ client }: Store): void => {
  const tables = ['servers', 'tokens', 'operators', 'api_keys']
  const used = tables.filter((table) => client.query(`SELECT 1 FROM ${table} LIMIT 1`).get() !== null)
  if (used.length === 0) return
  const what = used.join(', ').replace('_', ' ')
  throw conflict(
    `this folder has ${what} of its own, and a node brings nothing into a cluster: join with an empty folder (--data)`,
  )
}

/**
 * Makes an empty folder one of the cluster's: its key file and its database name the same database as all others. The
 * intent comes first, the key file next, so that a crash leaves a folder that opens, and can do it again. Throws
 * `conflict` for a folder that is not empty.
 */
export const adoptRing = (store: Store, { database, keys }: Ring): void => {
  const { client, log } = store
  const meta = metaOf(client)
  const cluster = new ClusterStore(store)
  const pair = cluster.keys()
  if (store.database !== database) {
    checkEmpty(store)
    log.write(() => {
      meta.set(ADOPTING, database)
      cluster.putNextKeys(pair, new KeyRing({ database, keys: [...keys] }))
    })
  }
  writeKeyFile(store.keyFile, { database, keys })
  log.write(() => {
    meta.set('database', database)
    meta.remove(ADOPTING)
  })
  store.keys.data.database = database
  store.keys.replace(keys)
  store.database = database
  cluster.putKeys(pair)
}
