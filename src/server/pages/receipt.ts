import type { Node } from '../../node.ts'
import type { Receipt } from '../../revocation-record.ts'
import { formatTime } from '../../time.ts'
import type { ReceiptCard } from '../../views/receipt.tsx'
import type { RevocationRow } from '../../views/revocations.tsx'
import { numberAfter, pageOf } from '../api/page.ts'
import { receiptConnectionJson, receiptJson } from '../api/present.ts'
import { clusterAt, holdoutsOf } from './alarms.ts'
import { elsewhereIn } from './elsewhere.ts'
import { selectorCard } from './revocation-form.ts'

/** How many connections died; null where only that it was done is known. */
const cutOf = ({ cut, timings }: Receipt): number | null => (cut === 0 && timings.commitMs === null ? null : cut)

/** A receipt with all that is known of it. */
export const receiptCard = async (
  node: Node,
  request: Request,
  receipt: Receipt,
  after: string | null,
): Promise<ReceiptCard> => {
  const { limits, reads } = node
  const { tokens, connections: _, peers: __, ...json } = receiptJson(node, receipt)
  const { peers } = node.cluster.completion(receipt.id)
  const status = clusterAt(node, request)?.status ?? null
  const found = reads.receiptConnections(receipt.id, limits.rowsShownMax + 1, numberAfter(after))
  const tries = await reads.triesOf(receipt)
  const row = reads.auditOf(receipt)
  // What waits in the journal has no row, and is this node's own.
  const askedAt = row && elsewhereIn(node, request)(row.node)
  return {
    ...json,
    askedAt,
    url: `${node.consoleUrl}/revocations/${receipt.id}`,
    selector: selectorCard(node, receipt),
    peers,
    isClustered: peers.length > 0 || (status !== null && status.members.length > 1),
    holdouts: status && !json.complete ? holdoutsOf(status, peers) : [],
    policy: status?.policy ?? 'serve',
    now: node.now(),
    tokens: tokens.length,
    first: tokens.slice(0, limits.rowsShownMax),
    // Elsewhere nothing was timed, and what was cut here is known all the same.
    cut: askedAt === null ? cutOf(receipt) : receipt.cut,
    connections: {
      ...pageOf(
        found,
        limits.rowsShownMax,
        ({ n }) => String(n),
        (connection) => receiptConnectionJson(node, connection),
      ),
      isFirst: after === null,
    },
    tries: {
      ...tries,
      lastAt: tries.lastAt === null ? null : formatTime(tries.lastAt),
      addresses: tries.addresses.map(({ address, count, firstAt, lastAt }) => ({
        address,
        count,
        firstAt: formatTime(firstAt),
        lastAt: formatTime(lastAt),
      })),
    },
    audit: row && { sequence: row.sequence, hash: row.hash, previousHash: row.previousHash, node: row.node },
    node: { id: node.id, version: node.version.version },
    promisedMs: limits.cutPromisedMs,
    isNew: node.now() - receipt.at < limits.receiptNewMs,
  }
}

/** A receipt as one line of a list. */
export const rowOf = (node: Node, receipt: Receipt, open?: ReadonlySet<string>): RevocationRow => ({
  id: receipt.id,
  at: formatTime(receipt.at),
  actor: receipt.actor,
  reason: receipt.reason,
  note: receipt.note,
  selector: selectorCard(node, receipt),
  tokens: receipt.tokens.length,
  only: receipt.tokens.length === 1 ? receipt.tokens[0] : undefined,
  cut: cutOf(receipt),
  lastCutMs: receipt.timings.lastCutMs,
  isOpen: open?.has(receipt.id) ?? false,
})
