import type { RingKey } from '../key.ts'
import type { KeyStore as Keys } from '../key-rotation.ts'
import type { Actor } from '../operator.ts'
import type { Upstream } from '../upstream.ts'
import { writeKeyFile } from './keyfile.ts'
import type { Store } from './open.ts'
import { ServerStore } from './server.ts'

/** The key file, and what the database holds under its keys. */
export class KeyStore implements Keys {
  constructor(readonly store: Store) {}

  saveRing(keys: RingKey[]): void {
    writeKeyFile(this.store.keyFile, { database: this.store.database, keys })
  }

  reseal(servers: Iterable<Upstream>, action: 'key.rotate' | 'key.remove', keyId: string, actor: Actor): void {
    this.store.log.change({ actor: actor.name, action, targetId: keyId }, [], () =>
      new ServerStore(this.store).reseal(servers),
    )
  }
}
