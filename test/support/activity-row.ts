import type { ActivityRow } from '../../src/activity.ts'

/** One call at that time, with ten bytes of arguments. */
export const rowAt = (at: number, extra: Partial<ActivityRow> = {}): ActivityRow => ({
  tokenId: 'tok_1',
  serverId: 'srv_1',
  method: 'tools/call',
  name: 'echo',
  address: '192.0.2.1',
  client: 'test 1',
  calls: 1,
  errors: 0,
  refused: 0,
  argumentBytes: 10,
  firstAt: at,
  lastAt: at,
  ...extra,
})
