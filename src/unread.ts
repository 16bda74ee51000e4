/** Whether a request says that it has a body (RFC 9112 §6). */
export const announcesBody = (headers: Headers): boolean =>
  headers.has('transfer-encoding') || (headers.get('content-length') ?? '0') !== '0'

/**
 * Takes in the body of a request that is answered without it, so that its connection can be used again. To close it at
 * once could cost the client the answer: the kernel resets a connection on which something is unread, and a proxy makes
 * a 502 of that. To leave it open is worse: a proxy may never send the rest of a body that was answered, and what it
 * sends next would be taken for that. Resolves to whether all came; if not, the connection must be closed.
 */
export const takeUnread = async (request: Request, bytesMax: number, waitMs: number): Promise<boolean> => {
  const { body, bodyUsed, headers } = request
  if (!announcesBody(headers) || bodyUsed) return true
  // Who waits to be asked for the body (RFC 9110 §10.1.1) is told by the answer that nobody wants it.
  if (!body || headers.has('expect') || Number(headers.get('content-length')) > bytesMax) return false
  const reader = body.getReader()
  let bytes = 0
  let late = false
  const timer = setTimeout(() => {
    late = true
    // A body that fails in this moment has failed for the reader too.
    reader.cancel().catch(() => undefined)
  }, waitMs)
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return !late
      bytes += value.length
      if (bytes > bytesMax) return false
    }
  } catch {
    // The client has gone: nobody will use its connection.
    return false
  } finally {
    clearTimeout(timer)
  }
}
