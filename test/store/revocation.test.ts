import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'
import type { GateRecord } from '../../src/emergency.ts'
import type { ReceiptConnection } from '../../src/receipt.ts'
import { NOT_MEASURED, type RevocationRecord } from '../../src/revocation-record.ts'
import { openStore, type Store } from '../../src/store/open.ts'
import { RevocationStore } from '../../src/store/revocation.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let folder: string
let store: Store
let revocations: RevocationStore
beforeEach(() => {
  folder = tempFolder()
  store = openStore({ folder, keyFile: join(folder, 'portcullis.key'), version: '0.0.0', now: () => 1_000 })
  revocations = new RevocationStore(store)
})
afterEach(() => {
  store.close()
  removeFolder(folder)
})

const recordOf = (id: string, ...tokens: string[]): RevocationRecord => ({
  id,
  at: 900,
  actor: 'operator:ada',
  reason: 'compromised',
  note: '',
  selector: { tokens },
  tokens: tokens.map((token) => ({ id: token, name: `name of ${token}`, subject: null })),
})
const revoke = (record: RevocationRecord, waited = false): RevocationRecord => {
  revocations.applyEmergency({ op: 'revocation', record }, waited)
  return record
}

test('the row of a revocation, of one token, of many, out of the journal; of none that is not here', () => {
  const one = revoke(recordOf('rev_1', 'tok_1'))
  // What else is known of the token is not about its revocation.
  const other = { actor: 'address:10.0.0.1', action: 'gate.dead-token', targetId: 'tok_1', targetName: 'x' }
  store.log.changes([other, { ...other, action: 'token.policy' }], [], () => undefined)
  const many = revoke(recordOf('rev_2', 'tok_2', 'tok_3'))
  const waited = revoke(recordOf('rev_3', 'tok_4'), true)
  revoke(waited, true)
  expect(revocations.auditOf(one)).toMatchObject({ sequence: 1, targetId: 'tok_1', action: 'token.revoke' })
  expect(revocations.auditOf(many)).toMatchObject({ sequence: 4, targetId: 'rev_2' })
  expect(revocations.auditOf(waited)).toMatchObject({ sequence: 5, targetId: 'tok_4' })
  expect(revocations.auditOf(recordOf('rev_9', 'tok_9'))).toBeNull()
  // The same token in a revocation that another log has written, as after a restore.
  expect(revocations.auditOf(recordOf('rev_9', 'tok_1'))).toBeNull()
})

test('what a crash brought into the database before the journal did is not applied again, whatever came behind it', () => {
  // Refused, so that both wait; and the pages of the refused commit count after the crash.
  const first = revoke(recordOf('rev_1', 'tok_1'))
  const closing: GateRecord = {
    id: 'rev_2',
    at: 900,
    actor: 'operator:ada',
    action: 'close',
    servers: [{ id: 'srv_1', name: 'files' }],
    all: false,
    reason: null,
  }
  const second = { op: 'gate', record: closing } as const
  revocations.applyEmergency(second, false)
  const third = recordOf('rev_3', 'tok_2')
  const rows = () => store.log.head.sequence
  expect(rows()).toBe(2)
  // Another crash between the last commit and the clearing: the journal still holds all of them.
  for (let start = 0; start < 2; start += 1) {
    revoke(first, true)
    revocations.applyEmergency(second, true)
    revoke(third, true)
    expect(rows()).toBe(3)
  }
})

test('what died, page by page, beside its figures', () => {
  revoke(recordOf('rev_1', 'tok_1'))
  revoke(recordOf('rev_2', 'tok_2'))
  const rows = Array.from({ length: 5 }, (_, index): ReceiptConnection => ({
    n: index + 1,
    tokenId: 'tok_1',
    serverId: 'srv_1',
    kind: 'sse',
    client: index === 0 ? null : 'tester',
    address: '10.0.0.1',
    startedAt: 10,
    endedAt: 20,
    bytesIn: index,
    bytesOut: 2 * index,
  }))
  revocations.putReceipt('rev_1', 5, { ...NOT_MEASURED, commitMs: 1 }, rows.slice(0, 2))
  revocations.putReceiptConnections('rev_1', rows.slice(2))
  revocations.putTimings('rev_1', { ...NOT_MEASURED, commitMs: 1, upstreamCancelledMs: 7 })
  expect(revocations.get('rev_1')).toMatchObject({ cut: 5, timings: { commitMs: 1, upstreamCancelledMs: 7 } })
  expect(revocations.connections('rev_1', 10, null)).toEqual(rows)
  expect(revocations.connections('rev_1', 2, 2)).toEqual(rows.slice(2, 4))
  expect(revocations.connections('rev_1', 2, 5)).toEqual([])
  expect(revocations.connections('rev_2', 2, null)).toEqual([])
  expect(revocations.get('rev_2')?.timings).toEqual(NOT_MEASURED)
})

test('figures of an older version have nulls where nothing was measured', () => {
  revoke(recordOf('rev_1', 'tok_1'))
  store.client.run(`UPDATE revocations SET timings = '{"commitMs":1,"firstCutMs":2,"lastCutMs":3}'`)
  expect(revocations.get('rev_1')?.timings).toEqual({ ...NOT_MEASURED, commitMs: 1, firstCutMs: 2, lastCutMs: 3 })
  expect(revocations.page(5, null)).toMatchObject([{ timings: { deniedMs: null } }])
})
