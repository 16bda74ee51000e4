import { Database } from 'bun:sqlite'
import { type AuditHead, type AuditRow, type Verification, verifyChain } from '../audit.ts'
import { messageOf } from '../error.ts'

/** Runs in a Worker: reads the whole audit log, which may take seconds, off the node's event loop. */

export interface VerifyRequest {
  file: string
  expected: AuditHead[]
}

export type VerifyAnswer = { ok: true; verification: Verification } | { ok: false; error: string }

const COLUMNS = `sequence, at, node, actor, action, target_id AS targetId, target_name AS targetName, reason, details,
  previous_hash AS previousHash, hash`

export const verifyFile = ({ file, expected }: VerifyRequest): Verification => {
  const client = new Database(file, { readonly: true })
  try {
    const rows = client.query(`SELECT ${COLUMNS} FROM audit ORDER BY sequence`).iterate() as Iterable<AuditRow>
    return verifyChain(rows, expected)
  } finally {
    client.close()
  }
}

declare const self: Worker

if (!Bun.isMainThread) {
  self.onmessage = ({ data }: MessageEvent<VerifyRequest>) => {
    let answer: VerifyAnswer
    try {
      answer = { ok: true, verification: verifyFile(data) }
    } catch (error) {
      answer = { ok: false, error: messageOf(error) }
    }
    postMessage(answer)
  }
}
