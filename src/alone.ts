import { type Cluster, NOBODY } from './cluster-view.ts'
import { invalid, notFound } from './error.ts'

/** The cluster of a node that is in none and can't make one: nobody is asked, and nobody is waited for. */
export const alone: Cluster = {
  ...NOBODY,
  status: () => null,
  memberName: () => null,
  ticket: () =>
    Promise.reject(
      invalid(
        'this node listens for no other node: restart it with --cluster-listen HOST:PORT, an address at which they reach it',
      ),
    ),
  remove: () => Promise.reject(notFound('this node stands alone: there is no member to remove')),
  completion: () => ({ complete: true, peers: [] }),
  settled: () => Promise.resolve(),
  spread: () => Promise.resolve(),
}
