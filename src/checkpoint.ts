import type { AuditHead } from './audit.ts'
import { invalid } from './error.ts'
import { type KeyRing, signatureHolds } from './key.ts'

/** What a checkpoint says: that the log had this hash at this row. */
interface Statement {
  database: string
  node: string
  sequence: number
  hash: string
  /** RFC 3339. */
  at: string
}

/** The statement with an Ed25519 signature; key and signature are base64. */
export interface Checkpoint extends Statement {
  keyId: string
  publicKey: string
  signature: string
}

/** What the signature of a checkpoint is over. */
export const checkpointText = ({ database, node, sequence, hash, at }: Statement): string =>
  JSON.stringify(['portcullis audit checkpoint', database, node, sequence, hash, at])

export const signCheckpoint = (statement: Statement, ring: KeyRing): Checkpoint => ({
  ...statement,
  ...ring.sign(checkpointText(statement)),
})

/**
 * The head that a checkpoint vouches for. Throws `invalid` when it is of another database, signed by a key
 * that the ring does not hold, or forged. Without a ring, the key in the checkpoint is taken at its word.
 */
export const headOfCheckpoint = (given: Checkpoint, database: string | null, ring: KeyRing | null): AuditHead => {
  if (database !== null && given.database !== database) throw invalid('the checkpoint is of another database')
  if (ring !== null && ring.publicKey(given.keyId) !== given.publicKey) {
    throw invalid(`the checkpoint was signed by the key ${given.keyId}, which the key file does not hold`)
  }
  if (!signatureHolds(checkpointText(given), given.publicKey, given.signature)) {
    throw invalid('the signature of the checkpoint does not hold')
  }
  return { sequence: given.sequence, hash: given.hash }
}
