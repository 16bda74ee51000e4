import type { Fact } from '../fact.ts'
import type { RingKey } from '../key.ts'
import type { KeyStore as Keys } from '../key-rotation.ts'
import type { Actor } from '../operator.ts'
import type { Upstream } from '../upstream.ts'
import { ClusterStore } from './cluster.ts'
import { writeKeyFile } from './keyfile.ts'
import type { Store } from './open.ts'
import { ServerStore } from './server.ts'

/** The register of which key of the ring is the current one. */
export const RING = 'ring'

/** The key file, and what the database holds under its keys. */
export class KeyStore implements Keys {
  readonly servers
  readonly #cluster

  constructor(readonly store: Store) {
    this.servers = new ServerStore(store)
    this.#cluster = new ClusterStore(store)
  }

  saveRing(keys: RingKey[]): void {
    writeKeyFile(this.store.keyFile, { database: this.store.database, keys })
  }

  added(servers: Iterable<Upstream>, key: RingKey, under: string, actor: Actor): void {
    const { id, createdAt, secret } = key
    const plain = Buffer.from(secret).toString('base64')
    const sealed = this.store.keys.encrypt(plain, purposeOf(id), under)
    const fact: Fact = {
      stream: 'change',
      kind: 'key.add',
      payload: { id, createdAt, sealed, by: actor.name },
      registers: [RING],
    }
    const event = { actor: actor.name, action: 'key.rotate', targetId: id }
    this.store.log.change(event, [fact], () => this.reseal(servers))
  }

  removed(servers: Iterable<Upstream>, keyId: string, actor: Actor): void {
    const { current } = this.store.keys
    const event = { actor: actor.name, action: 'key.remove', targetId: keyId }
    // Who joins later has no key for what was told under this one.
    const puts = [...servers]
      .filter(({ removedAt }) => removedAt === null)
      .map((one) => this.servers.putFact(one, actor.name))
    const fact: Fact = { stream: 'change', kind: 'key.remove', payload: { id: keyId, current, by: actor.name } }
    this.store.log.change(event, [...puts, fact], () => {
      this.reseal(servers)
      this.drop(keyId)
    })
  }

  /** Within the caller's transaction, like what follows: seals all that is sealed under the current key. */
  reseal(servers: Iterable<Upstream>): void {
    this.servers.reseal(servers)
    this.#cluster.reseal()
  }

  /** It comes back with no fact that is still on its way. */
  drop(keyId: string): void {
    this.store.log.registers.end(`key:${keyId}`)
  }
}

/** What a key of the ring is sealed for, on its way to other nodes. */
export const purposeOf = (id: string): string => `ring key ${id}`
