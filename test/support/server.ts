import type { Upstream } from '../../src/upstream.ts'

/** An open server as the domain holds it, without a node around it. */
export const serverAt = (url: string, extra: Partial<Upstream> = {}): Upstream => ({
  id: 'srv_1',
  name: 'up',
  url: new URL(url),
  kind: 'auto',
  path: '',
  headers: [],
  stdio: null,
  state: 'open',
  reason: null,
  createdAt: 0,
  removedAt: null,
  ...extra,
})
