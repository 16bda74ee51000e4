import type { Denial } from '../token.ts'
import { CUT_MESSAGES, type CutCause } from '../registry.ts'
import { mismatchError, type RpcError, type RpcId } from './rpc.ts'

/** What the gate itself answers: RFC 9457 problem details, their `type` ending in a slug. */
export interface Problem {
  status: number
  slug: string
  title: string
  detail: string
  /** For 401 and 403 about a token: RFC 6750 §3. */
  challenge?: { error?: 'invalid_token' | 'insufficient_scope' | 'invalid_request' }
  retryAfterS?: number
  /** Said in its place where MCP demands an error of its own. */
  rpc?: RpcError
}

/** Thrown where a server is called, when the gate must answer in its place. */
export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail)
  }
}

export const TYPE_PREFIX = 'urn:portcullis:problem:'

const REALM = 'Bearer realm="portcullis"'

const challengeOf = ({ challenge, detail }: Problem): string | null => {
  if (!challenge) return null
  return challenge.error
    ? `${REALM}, error="${challenge.error}", error_description="${detail.replaceAll('"', "'")}"`
    : REALM
}

/** `closing`: the request's body was not read, so the connection can't be used again. */
export const problemResponse = (problem: Problem, requestId: string, closing: boolean): Response => {
  const { status, slug, title, detail, retryAfterS, rpc } = problem
  const type = rpc ? 'application/json' : 'application/problem+json'
  const headers = new Headers({ 'content-type': type, 'cache-control': 'no-store' })
  const challenge = challengeOf(problem)
  if (challenge) headers.set('www-authenticate', challenge)
  if (retryAfterS !== undefined) headers.set('retry-after', String(retryAfterS))
  if (closing) headers.set('connection', 'close')
  const body = rpc ?? { type: TYPE_PREFIX + slug, title, status, detail, requestId }
  return new Response(JSON.stringify(body), { status, headers })
}

const token = (slug: string, title: string, detail: string): Problem => ({
  status: 401,
  slug,
  title,
  detail,
  challenge: { error: 'invalid_token' },
})

export const problems = {
  host: {
    status: 421,
    slug: 'misdirected-request',
    title: 'Misdirected request',
    detail: "This host is not one of this gate's; whoever runs it can add it with --allow-host.",
  },
  path: {
    status: 400,
    slug: 'bad-path',
    title: 'Bad path',
    detail: 'The path holds dot segments, encoded slashes or what no path may hold.',
  },
  secretInQuery: {
    status: 400,
    slug: 'secret-in-query',
    title: 'Secret in the query',
    detail:
      'A secret must not stand in a query: send it as "Authorization: Bearer …". Queries end up in logs, so rotate this one.',
  },
  secretInPath: {
    status: 400,
    slug: 'secret-in-path',
    title: 'Secret in the path',
    detail: 'A secret stands where the server would see it: only /t/{token}/s/{server}/… takes one in the path.',
  },
  notFound: { status: 404, slug: 'not-found', title: 'Not found', detail: 'The gate serves /s/{server} only.' },
  origin: {
    status: 403,
    slug: 'origin-refused',
    title: 'Origin refused',
    detail: 'Pages of this origin may not call this gate; whoever runs it can add it with --allow-origin.',
  },
  missing: {
    status: 401,
    slug: 'token-missing',
    title: 'Token missing',
    detail: 'Send a connection token as "Authorization: Bearer pcl_…".',
    challenge: {},
  },
  unknown: token('token-unknown', 'Token unknown', 'The token is malformed or not known here.'),
  session: {
    status: 404,
    slug: 'session-not-found',
    title: 'Session not found',
    detail: 'This token has no such session here; start a new one.',
  },
  endpoint: {
    status: 404,
    slug: 'endpoint-not-found',
    title: 'Endpoint not found',
    detail: 'No open stream of this token announced this endpoint.',
  },
  bodyTooLarge: {
    status: 413,
    slug: 'body-too-large',
    title: 'Body too large',
    detail: 'The body is larger than this gate passes on.',
  },
  bodyTimeout: {
    status: 408,
    slug: 'body-timeout',
    title: 'Body timed out',
    detail: 'The body of the request stopped arriving.',
  },
  bodyUnexpected: {
    status: 400,
    slug: 'body-unexpected',
    title: 'Unexpected body',
    detail: "A GET or HEAD with a body can't be passed on.",
  },
  upstreamRefused: {
    status: 502,
    slug: 'upstream-unreachable',
    title: 'Server unreachable',
    detail: 'The server behind the gate could not be reached.',
  },
  upstreamFailed: {
    status: 502,
    slug: 'upstream-failed',
    title: 'Server failed',
    detail: 'The server behind the gate ended the connection or did not speak HTTP.',
  },
  processesFull: {
    status: 503,
    slug: 'too-many-processes',
    title: 'Too many processes',
    detail: 'All processes that this node may run are in use.',
    retryAfterS: 10,
  },
  tokenProcessesFull: {
    status: 429,
    slug: 'too-many-processes',
    title: 'Too many processes',
    detail: 'This token uses all processes that it may: end a session, or wait until one is idle.',
    retryAfterS: 10,
  },
  serverExited: {
    status: 502,
    slug: 'server-exited',
    title: 'Server exited',
    detail: "The server's process ended before it answered.",
  },
  serverStartTimeout: {
    status: 504,
    slug: 'server-start-timeout',
    title: 'Server did not start in time',
    detail: "The server's process runs, but did not answer in time.",
  },
  serverBackoff: {
    status: 503,
    slug: 'server-restarting',
    title: 'Server is restarting',
    detail: "The server's process ended by itself and is started again soon.",
    retryAfterS: 1,
  },
  serverNotReading: {
    status: 503,
    slug: 'server-not-reading',
    title: 'Server is not reading',
    detail: "The server's process does not read what was sent to it, and no more fits.",
    retryAfterS: 1,
  },
  upstreamUnauthorized: {
    status: 502,
    slug: 'upstream-unauthorized',
    title: 'Server refused its credentials',
    detail:
      'The server behind the gate answered 401: the credentials that the gate holds for it are wrong. Your token is not the cause.',
  },
  upstreamRedirect: {
    status: 502,
    slug: 'upstream-redirect',
    title: 'Server redirected elsewhere',
    detail: 'The server behind the gate redirected to where the gate does not lead.',
  },
  upstreamTimeout: {
    status: 504,
    slug: 'upstream-timeout',
    title: 'Server timed out',
    detail: 'The server behind the gate did not answer in time.',
  },
  policyAnswer: {
    status: 502,
    slug: 'policy-unreadable',
    title: 'Answer unreadable under the policy',
    detail: "The token's policy hides tools, and the server's answer could not be read for that.",
  },
  streamBehind: {
    status: 503,
    slug: 'stream-behind',
    title: 'Stream behind',
    detail: 'The answer to a refused call goes to the event stream, which is not read.',
    retryAfterS: 1,
  },
  tooManyStreams: {
    status: 429,
    slug: 'too-many-streams',
    title: 'Too many streams',
    detail: 'The token holds open as many event streams as its policy allows.',
    retryAfterS: 5,
  },
} satisfies Record<string, Problem>

/** Of a server that is a command, and runs on another node alone: its name, or null for one that is no member any more. */
export const serverElsewhere = (node: string | null): Problem => ({
  status: 421,
  slug: 'server-elsewhere',
  title: 'Server on another node',
  detail:
    node === null
      ? 'The node that ran this server is no member of the cluster any more: an owner can add it anew on another one.'
      : `This server runs on node "${node}" only; ask that node.`,
})

/** A command that can't be run as it stands; `detail` says what to do. */
export const notStartable = (detail: string): Problem => ({
  status: 502,
  slug: 'server-not-startable',
  title: 'Server can not be started',
  detail,
})

/** What a policy about tools can't judge is not let through. */
export const policyUnreadable = (why: string): Problem => ({
  status: 403,
  slug: 'policy-unreadable',
  title: 'Request unreadable under the policy',
  detail: `This request can't be judged by the token's policy: ${why}.`,
})

/** MCP 2026-07-28, Server Validation: who reads the body must answer so, and clients go by the code. */
export const headerMismatch = (
  id: RpcId | null,
  detail = 'Mcp-Method or Mcp-Name says another thing than the body.',
): Problem => {
  return {
    status: 400,
    slug: 'header-mismatch',
    title: 'Header mismatch',
    detail,
    rpc: mismatchError(id, detail),
  }
}

export const rateLimited = (perMinute: number, retryAfterS: number): Problem => ({
  status: 429,
  slug: 'rate-limited',
  title: 'Too many calls',
  detail: `The token's policy allows ${perMinute} calls a minute.`,
  retryAfterS,
})

const denials: Record<Denial, Problem> = {
  token_revoked: token('token-revoked', 'Token revoked', 'The token was revoked.'),
  token_expired: token('token-expired', 'Token expired', 'The token has expired.'),
  secret_rotated: token('token-revoked', 'Token revoked', 'This secret of the token was revoked by a rotation.'),
  server_unknown: {
    status: 404,
    slug: 'server-unknown',
    title: 'Server unknown',
    detail: 'No server of that name is behind this gate.',
  },
  scope: {
    status: 403,
    slug: 'insufficient-scope',
    title: 'Insufficient scope',
    detail: 'The token is not for this server.',
    challenge: { error: 'insufficient_scope' },
  },
  server_closed: {
    status: 503,
    slug: 'server-closed',
    title: 'Server closed',
    detail: 'This server is closed until an operator opens it.',
    retryAfterS: 30,
  },
  not_synced: {
    status: 503,
    slug: 'node-not-synced',
    title: 'Node not synced',
    detail: 'This node does not know yet what its cluster knows; another one may answer.',
    retryAfterS: 1,
  },
  node_stale: {
    status: 503,
    slug: 'node-stale',
    title: 'Node stale',
    detail: 'This node has lost touch with its cluster, and lets nobody in until it is back; another one may answer.',
    retryAfterS: 1,
  },
}

export const problemOf = (denial: Denial): Problem => denials[denial]

/** What a request hears that was cut before its answer had begun. */
export const problemOfCut = (cause: CutCause): Problem => {
  if (cause === 'token_revoked' || cause === 'token_expired') return denials[cause]
  if (cause === 'server_closed' || cause === 'node_stale') return denials[cause]
  return {
    status: 503,
    slug: 'connection-killed',
    title: 'Connection killed',
    detail: CUT_MESSAGES[cause],
    retryAfterS: 1,
  }
}
