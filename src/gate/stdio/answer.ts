import { type Problem, ProblemError, problems } from '../problem.ts'
import type { RpcId } from '../rpc.ts'

/** What the bridge itself answers, in the words that the SDK's own servers use, since clients go by them. */

const SERVER_EXITED_CODE = -32082

/** To a request that was in flight when its server ended. */
export const exitError = (id: RpcId, detail: string) => ({
  jsonrpc: '2.0' as const,
  id,
  error: {
    code: SERVER_EXITED_CODE,
    message: `The server exited: ${detail}`,
    data: { type: 'server_exited' },
  },
})

/** The same where no answer has begun. */
export const exitProblem = (detail: string): Problem => ({
  ...problems.serverExited,
  detail: `The server exited: ${detail}`,
})

/** To a request that could not be handed to its server. */
export const undeliveredError = (id: RpcId, detail: string) => ({
  jsonrpc: '2.0' as const,
  id,
  error: { code: -32603, message: `The server did not take the request: ${detail}` },
})

/** The server has ended: all that is in flight is told so with its reason, as soon as that is known. */
export const isOver = (error: unknown): boolean =>
  error instanceof ProblemError && error.problem.slug === problems.serverExited.slug

/** To a request that its client has taken back. */
export const cancelledError = (id: RpcId) => ({
  jsonrpc: '2.0' as const,
  id,
  error: { code: -32800, message: 'The request was cancelled' },
})

export const tooManyCalls = (most: number): Problem => ({
  status: 429,
  slug: 'too-many-calls',
  title: 'Too many calls',
  detail: `${most} calls wait for their answers, and there may be no more of them until one comes.`,
  retryAfterS: 5,
})

/** A refusal of a whole HTTP request, with a body as JSON-RPC has it. */
export const rpcRefusal = (status: number, code: number, message: string): Response =>
  Response.json({ jsonrpc: '2.0', error: { code, message }, id: null }, { status })

export const sessionNotFound = (): Response => rpcRefusal(404, -32001, 'Session not found')

export const methodNotAllowed = (allow: string): Response => {
  const refusal = rpcRefusal(405, -32000, 'Method not allowed.')
  refusal.headers.set('allow', allow)
  return refusal
}
