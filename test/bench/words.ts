/** The bytes that every contender sends, so that only the way they end a stream differs. */

const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`

export const STREAM_HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
export const FIRST_EVENT = chunk('id: 1\ndata: {"n":1}\n\n')
export const LAST_CHUNK = '0\r\n\r\n'

const error = { error: { type: 'token_revoked', message: 'Connection token revoked' } }
export const FAREWELL = `event: disconnect\ndata: ${JSON.stringify(error)}\n\n`
export const FAREWELL_CHUNK = chunk(FAREWELL)

export const stampedEvent = (atMs: number): string => chunk(`data: ${atMs}\n\n`)
