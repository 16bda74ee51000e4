import { answerCalls } from './child.ts'

/** A server that costs next to nothing: a small JSON answer to every request, on connections that are kept. */
const BODY = JSON.stringify({ items: [{ id: 1, name: 'first' }], next: null, at: '2026-11-21T12:00:00Z' })
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
)
const HEAD_END = Buffer.from('\r\n\r\n')

const server = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    // Requests are small and have no body: a piece that ends a head is a request.
    data: (socket, bytes) => {
      if (bytes.subarray(-HEAD_END.length).equals(HEAD_END)) socket.write(ANSWER)
    },
    end: (socket) => void socket.end(),
  },
})

answerCalls({ port: () => server.port })
