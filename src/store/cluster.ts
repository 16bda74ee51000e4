import { generateKeyPairSync } from 'node:crypto'
import type { AuditEvent } from '../audit.ts'
import { AppError } from '../error.ts'
import { type KeyRing, sealedUnder } from '../key.ts'
import { limits } from '../limits.ts'
import type { ProtocolDisk } from '../replica.ts'
import type { Restored } from '../restored.ts'
import { metaOf } from './meta.ts'
import type { Store } from './open.ts'

/** Who this node is in its cluster. */
export interface ClusterIdentity {
  clusterId: string
  /** 32 bytes of X25519; the public part, base64, stands in the membership. */
  privateKey: Uint8Array
  publicKey: string
  /** Ids that this folder had before it was copied or restored, the newest first. */
  formerly: readonly string[]
  /** Those certainly run nowhere any more: the folder was restored in place, or somebody said so. Of a copy nobody knows. */
  retired: boolean
  /** This identity was never in step with the others: it must know what all of them know before it lets anybody in. */
  fresh: boolean
}

/** A cluster's secret, from one membership on. */
export interface ClusterSecret {
  version: number
  secret: Uint8Array
}

interface Sealed {
  version: number
  ballot: string
  /** As it stands in the membership. */
  text?: string
  sealed: string
}

const ID = 'cluster.id'
const STATE = 'cluster.state'
const SECRETS = 'cluster.secrets'
/** The node's own: never brought along by a copy or a restore, since two nodes must not prove to be one. */
const PRIVATE_KEY = 'cluster.key'
/** The same under the ring of the cluster that is being joined. */
const NEXT_PRIVATE_KEY = 'cluster.key.next'
const FORMERLY = 'cluster.formerly'
const RETIRED = 'cluster.retired'
const FRESH = 'cluster.fresh'

const PRIVATE_KEY_PURPOSE = 'key of this node'
type KeyPair = Pick<ClusterIdentity, 'privateKey' | 'publicKey'>

const textOf = ({ privateKey, publicKey }: KeyPair) => `${Buffer.from(privateKey).toString('base64')} ${publicKey}`

const SECRET_PURPOSE = 'cluster secret'

/** Whether the folder is of a cluster. */
export const isOfCluster = (store: Store): boolean => new ClusterStore(store).identity() !== null

/** What a node must find again of its cluster: rows of `meta`, secrets sealed under the ring. */
export class ClusterStore {
  readonly #meta

  constructor(readonly store: Store) {
    this.#meta = metaOf(store.client)
  }

  /** Null: this folder is in no cluster. */
  identity(): ClusterIdentity | null {
    const clusterId = this.#meta.get(ID)
    if (clusterId === null) return null
    const { privateKey, publicKey } = this.keys()
    const [fresh, retired] = [FRESH, RETIRED].map((key) => this.#meta.get(key) !== null) as [boolean, boolean]
    return { clusterId, privateKey, publicKey, formerly: this.formerly(), fresh, retired }
  }

  /** Ids that this folder had before it was copied or restored, the newest first; none once it has its place again. */
  formerly(): string[] {
    return JSON.parse(this.#meta.get(FORMERLY) ?? '[]') as string[]
  }

  /** In a cluster from now on: as its first member, or as one that joins, and must first learn what the others know. */
  create(clusterId: string, fresh: boolean): ClusterIdentity {
    this.store.log.write(() => {
      this.#meta.set(ID, clusterId)
      if (fresh) this.#meta.set(FRESH, '1')
      else this.#meta.remove(FRESH)
    })
    return this.identity() as ClusterIdentity
  }

  /** It knows what all others know, and is one of them by its own id. */
  setSynced(): void {
    if (this.#meta.get(FRESH) === null) return
    this.store.log.write(() => {
      for (const key of [FRESH, FORMERLY, RETIRED]) this.#meta.remove(key)
    })
  }

  /** Within the caller's transaction: by the operator's word nothing of what this folder was runs any more. */
  retire(): void {
    if (this.#meta.get(ID) !== null) this.#meta.set(RETIRED, '1')
  }

  /** Within the caller's transaction: in no cluster any more. A new one is founded by saying all that is here anew. */
  leave(): void {
    this.store.client.run("DELETE FROM meta WHERE key LIKE 'cluster.%'")
  }

  /** What a restore tells of its cluster: the members that the folder knows. Null: it is of none. */
  restored(): Restored['cluster'] {
    if (this.#meta.get(ID) === null) return null
    const { memberships = [] } = JSON.parse(this.#meta.get(STATE) ?? '{}') as {
      memberships?: { members: { name: string }[] }[]
    }
    return {
      members: memberships.at(-1)?.members.map(({ name }) => name) ?? [],
      retired: this.#meta.get(RETIRED) !== null,
    }
  }

  /** The next start takes another node id: for a machine that was rolled back behind the node's back. */
  forgetIdentity(): void {
    this.store.log.write(() => this.#meta.remove('file'))
  }

  /** What the protocol must find again after a crash. `eventOf`: what of it the audit log must tell; null: nothing. */
  state<T>(eventOf: (state: T, before: T | null) => AuditEvent | null): ProtocolDisk<T> {
    let last: T | null = null
    return {
      load: () => {
        const text = this.#meta.get(STATE)
        last = text === null ? null : (JSON.parse(text) as T)
        return last
      },
      save: (state) => {
        const event = eventOf(state, last)
        const put = () => this.#meta.set(STATE, JSON.stringify(state))
        if (event) this.store.log.change(event, [], put)
        else this.store.log.write(put)
        last = state
      },
    }
  }

  /** A secret as it stands in a membership: for all who share the ring. */
  seal(secret: Uint8Array): string {
    return this.store.keys.encrypt(Buffer.from(secret).toString('base64'), SECRET_PURPOSE)
  }

  /**
   * The secret of a membership, which is kept from now on: the key of the ring that it is sealed under may be removed.
   * Null: it holds none, or one that this ring can't open.
   */
  open({ version, ballot, secret }: { version: number; ballot: string; secret: string }): Uint8Array | null {
    if (secret === '') return null
    const all = this.#sealed()
    const known = all.find((one) => one.version === version && one.ballot === ballot)
    if (known) return this.#unseal(known.sealed)
    // Most changes leave the secret as it was, sealed under a key of the ring that may be gone since.
    const opened = this.#unseal(all.find((one) => one.text === secret)?.sealed ?? secret)
    if (opened !== null) this.keepSecret({ version, ballot, secret }, opened)
    return opened
  }

  /** The secret of a membership, by whoever knows it. */
  keepSecret(
    { version, ballot, secret: text }: { version: number; ballot: string; secret: string },
    opened: Uint8Array,
  ) {
    const kept = [{ version, ballot, text, sealed: this.seal(opened) }, ...this.#sealed()]
      .toSorted((a, b) => b.version - a.version || (a.ballot < b.ballot ? 1 : -1))
      .slice(0, limits.clusterSecretsMax)
    this.store.log.write(() => this.#meta.set(SECRETS, JSON.stringify(kept)))
  }

  /** The newest first; older ones too: a restored node proves itself with what it had. */
  secrets(): ClusterSecret[] {
    return this.#sealed().flatMap(({ version, sealed }) => {
      const secret = this.#unseal(sealed)
      return secret === null ? [] : [{ version, secret }]
    })
  }

  /** Within the caller's transaction: seals what is kept here under the current key of the ring. */
  reseal(): void {
    const { keys } = this.store
    const own = this.#meta.get(PRIVATE_KEY)
    if (own !== null)
      this.#meta.set(PRIVATE_KEY, keys.encrypt(keys.decrypt(own, PRIVATE_KEY_PURPOSE), PRIVATE_KEY_PURPOSE))
    const all = this.#sealed()
    if (all.length === 0) return
    // What can't be opened any more is no loss: nobody can prove anything with it.
    const again = all.flatMap((one) => {
      const secret = this.#unseal(one.sealed)
      return secret === null ? [] : [{ ...one, sealed: this.seal(secret) }]
    })
    this.#meta.set(SECRETS, JSON.stringify(again))
  }

  /** This node's own pair; made when first it is asked for. */
  keys(): KeyPair {
    const kept = this.#meta.get(PRIVATE_KEY)
    const next = this.#meta.get(NEXT_PRIVATE_KEY)
    if (kept !== null) {
      // A crash may have left a ring that only one of the two opens with.
      const sealed = next !== null && this.store.keys.ids.includes(sealedUnder(next)) ? next : kept
      const [privateKey = '', publicKey = ''] = this.store.keys.decrypt(sealed, PRIVATE_KEY_PURPOSE).split(' ')
      return { privateKey: new Uint8Array(Buffer.from(privateKey, 'base64')), publicKey }
    }
    const pair = generateKeyPairSync('x25519')
    // RFC 8410: both end with their 32 bytes.
    const privateKey = pair.privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
    const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' }).subarray(-32).toString('base64')
    return this.putKeys({ privateKey: new Uint8Array(privateKey), publicKey })
  }

  /** The same pair under another ring: that of the cluster, which this node has just adopted. */
  putKeys(pair: KeyPair): KeyPair {
    this.store.log.write(() => {
      this.#meta.set(PRIVATE_KEY, this.store.keys.encrypt(textOf(pair), PRIVATE_KEY_PURPOSE))
      this.#meta.remove(NEXT_PRIVATE_KEY)
    })
    return pair
  }

  /** Within the caller's transaction: the pair under the ring that comes next, so that a crash on the way loses none. */
  putNextKeys(pair: KeyPair, ring: Pick<KeyRing, 'encrypt'>): void {
    this.#meta.set(NEXT_PRIVATE_KEY, ring.encrypt(textOf(pair), PRIVATE_KEY_PURPOSE))
  }

  #sealed(): Sealed[] {
    return JSON.parse(this.#meta.get(SECRETS) ?? '[]') as Sealed[]
  }

  #unseal(sealed: string): Uint8Array | null {
    try {
      return new Uint8Array(Buffer.from(this.store.keys.decrypt(sealed, SECRET_PURPOSE), 'base64'))
    } catch (error) {
      if (error instanceof AppError) return null
      throw error
    }
  }
}
