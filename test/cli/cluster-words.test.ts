import { expect, test } from 'bun:test'
import type { ClusteredJson, RevocationJson } from '../../src/server/api/schemas.ts'
import { startCanned } from './canned.ts'

const member = (name: string, of: Partial<ClusteredJson['members'][number]> = {}) => ({
  id: `node_${name}`,
  name,
  url: `ws://10.0.0.1:7072/${name}`,
  state: 'linked' as const,
  roundTripMs: 0.42,
  behind: 0,
  heardAt: new Date().toISOString(),
  version: '0.6.0',
  ...of,
})

const WELL: ClusteredJson = {
  clustered: true,
  id: 'cluster_1',
  node: { id: 'node_a', name: 'a' },
  transport: 'websocket',
  policy: 'lease',
  leaseMs: 5_000,
  serving: true,
  reason: null,
  leaseLeftMs: 4_321,
  restored: false,
  isolated: false,
  behind: 0,
  members: [member('a', { state: 'self', roundTripMs: null, behind: null, heardAt: null }), member('b'), member('c')],
  void: [],
  changing: null,
  incomplete: [],
  incompleteCount: 0,
}

const statusOf = async (state: Partial<ClusteredJson>) => {
  await using console = startCanned({ 'GET /cluster': { ...WELL, ...state } })
  const { code, stdout, stderr } = await console.run('cluster', 'status')
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}

test('status of a healthy cluster: that it is well, the lease, and a row a node', async () => {
  const text = await statusOf({})
  expect(text).toStartWith('OK  All members are linked, and every revocation is complete.\n')
  expect(text).toContain('4.3 s left here')
  expect(text).toMatch(/^NODE +STATE +ROUND TRIP +BEHIND +HEARD +VERSION +URL$/m)
  expect(text).toMatch(/^a +this node +- +0 +- +0\.6\.0 +ws:/m)
  expect(text).toMatch(/^b +linked +0\.4 ms +0 +\d+s ago +0\.6\.0 +ws:/m)
  expect(text).not.toMatch(/UNREACHABLE|NOT COMPLETE|Changing|undefined|null|NaN/)
})

test('status says first what is worst', async () => {
  const away = [WELL.members[0] as (typeof WELL.members)[0], member('b', { state: 'unreachable', behind: null })]
  const open = { incomplete: [{ id: 'rev_1', waitsFor: ['b'] }], incompleteCount: 1 }
  const worst: [state: Partial<ClusteredJson>, first: RegExp][] = [
    [{ members: away }, /^DEGRADED  Not reachable from here: b\.\n/],
    [{ members: away, ...open }, /^INCOMPLETE  1 revocation is not known to be complete/],
    [{ members: away, ...open, isolated: true }, /^ISOLATED  .* and lets nobody in from 4\.3 s on\.\n/],
    [{ isolated: true, policy: 'serve', leaseLeftMs: null }, /^ISOLATED  .* goes on with what it knows\.\n/],
    [
      { isolated: true, serving: false, reason: 'node_stale', leaseLeftMs: 0 },
      /^NOT SERVING  .* its lease has run out/,
    ],
    [{ serving: false, reason: 'not_synced' }, /^NOT SERVING  .* does not know yet what the other nodes know/],
    [
      { serving: false, reason: 'not_synced', members: WELL.members.slice(1) },
      /^NOT SERVING  This node is no member any more/,
    ],
    [{ void: [{ id: 'node_x', name: 'x', url: 'ws://x:1' }] }, /^DEGRADED  A node that was removed by force/],
  ]
  await Promise.all(worst.map(async ([state, first]) => expect(await statusOf(state)).toMatch(first)))
})

test('status names what is not complete and whom it waits for, what changes, and what must be known to be off', async () => {
  const text = await statusOf({
    policy: 'serve',
    leaseLeftMs: null,
    members: [
      ...WELL.members,
      member('d\u001b[31m', { state: 'unreachable', behind: 12, roundTripMs: null, heardAt: null }),
    ],
    incomplete: [{ id: 'rev_1', waitsFor: ['b', 'x'] }],
    incompleteCount: 8,
    changing: 'add e',
    void: [{ id: 'node_x', name: 'x', url: 'ws://x:1' }],
  })
  expect(text).toMatch(/^rev_1 +b, x$/m)
  expect(text).toContain('and 7 more')
  expect(text).toMatch(/^Changing: +add e$/m)
  expect(text).toContain('portcullis cluster remove x --off')
  expect(text).toMatch(/^d\\x1b\[31m +UNREACHABLE +- +12 +never /m)
  expect(text).not.toContain('\u001b')
  expect(text).not.toContain('left here')
})

test('a ticket comes with the whole command for the other machine', async () => {
  const ticket = `pcj_${'a'.repeat(43)}`
  const made = { ticket, expiresAt: '2026-11-21T10:10:00.000Z', url: 'ws://10.0.0.1:7072' }
  await using console = startCanned({ 'POST /cluster/tickets': made })
  const { code, stdout, stderr } = await console.run('cluster', 'ticket')
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout.split('\n')).toContain(ticket)
  expect(stdout).toContain(made.expiresAt)
  expect(stdout).toContain(
    `  portcullis serve --cluster-listen HOST:PORT --cluster-join ws://10.0.0.1:7072 --ticket ${ticket}\n`,
  )
  const { stdout: json } = await console.run('cluster', 'ticket', '--json')
  expect(JSON.parse(json)).toEqual(made)

  for (const url of ['ws://127.0.0.1:7072', 'ws://localhost:7072', 'ws://[::1]:7072']) {
    await using local = startCanned({ 'POST /cluster/tickets': { ...made, url } })
    expect((await local.run('cluster', 'ticket')).stderr).toContain('from this machine alone')
  }
})

test('a removal asks for what was said, and tells whether the node is known to be off', async () => {
  const path = 'DELETE /cluster/members/b%20c'
  await using console = startCanned({ [path]: { id: 'node_b', name: 'b c', off: false } })
  const { stdout } = await console.run('cluster', 'remove', 'b c', '--force')
  expect(stdout).toMatch(/^b c is removed, and may still run/)
  await console.run('cluster', 'remove', 'b c', '--off')
  await console.run('cluster', 'remove', 'b c')
  expect(console.asked.map(({ path: asked }) => asked.split('?')[1] ?? '')).toEqual(['force=true', 'off=true', ''])
  await using gone = startCanned({ [path]: { id: 'node_b', name: 'b c', off: true } })
  const off = (await gone.run('cluster', 'remove', 'b c')).stdout
  expect(off).toMatch(/^b c is removed: it stops when/)
  expect(off).not.toContain('may still run')
})

const REVOCATION: RevocationJson = {
  id: 'rev_1',
  at: '2026-11-21T10:00:00.000Z',
  actor: 'local:0',
  reason: 'compromised',
  note: '',
  dryRun: false,
  selector: { tokens: ['tok_1'] },
  tokens: [{ id: 'tok_1', name: 'Cursor', subject: null }],
  connections: { cut: 4 },
  timings: { commitMs: 0.4, deniedMs: 0.5, firstCutMs: 0.9, lastCutMs: 1.6, upstreamCancelledMs: null },
  durable: true,
  complete: true,
  peers: [],
}

test('revoke says of each peer what it did, and in one sentence whether any node can still let the token in', async () => {
  const revoked = async (of: Partial<RevocationJson>) => {
    await using console = startCanned({ 'POST /revocations': { ...REVOCATION, ...of } })
    const { code, stdout } = await console.run('revoke', 'Cursor', '--reason', 'compromised')
    expect(code).toBe(0)
    return stdout
  }
  const acked = { node: 'b', state: 'acked' as const, ms: 3.14, cut: 2 }
  const pending = { node: 'c', state: 'pending' as const, ms: null, cut: null }
  const until = '2026-11-21T10:00:05.000Z'

  const alone = await revoked({})
  expect(alone).not.toMatch(/node |omplete/)

  const complete = await revoked({ peers: [acked, { node: 'c', state: 'lease_expired', ms: null, cut: null }] })
  expect(complete).toContain('node b: acked in 3.1 ms, cut 2 connections\n')
  expect(complete).toContain('node c: has not acked, and lets nobody in any more')
  expect(complete).toContain('\nComplete: no node of the cluster lets these tokens in any more.')
  expect(complete).not.toMatch(/NOT COMPLETE|Not complete/)

  const leased = await revoked({ complete: false, peers: [acked, { ...pending, leaseEndsAt: until }] })
  expect(leased).toContain(`node c: has not acked, and may let these tokens in until ${until} at the latest`)
  expect(leased).toContain('NOT COMPLETE: waits for c.')
  expect(leased).not.toContain('Complete: no node')

  const serving = await revoked({ complete: false, peers: [{ ...acked, ms: null, cut: null }, pending] })
  expect(serving).toContain('node b: acked\n')
  expect(serving).toContain('node c: has not acked, and may let these tokens in until it is reached, or off')

  const removed = await revoked({ complete: false, peers: [acked, { ...pending, node: 'x', state: 'removed' }] })
  expect(removed).toContain('node x: was removed and has not acked; if it still runs')
  expect(removed).toContain('NOT COMPLETE: waits for x.')

  const dead = await revoked({ complete: false, tokens: [] })
  expect(dead).toMatch(/^Already dead[^]*Not complete yet: `portcullis cluster status`/)
})
