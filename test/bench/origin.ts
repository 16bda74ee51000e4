import { answerCalls } from './child.ts'
import { FIRST_EVENT, STREAM_HEAD } from './words.ts'

/** The upstream of both proxies: a stream of events on every path, one event at once, then silence. */
let open = 0
const server = Bun.listen<{ head: string; live: boolean }>({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    open(socket) {
      socket.data = { head: '', live: false }
    },
    data(socket, bytes) {
      socket.data.head += bytes.toString('latin1')
      if (socket.data.live || !socket.data.head.endsWith('\r\n\r\n')) return
      socket.data.live = true
      open += 1
      socket.write(STREAM_HEAD + FIRST_EVENT)
    },
    end(socket) {
      socket.end()
    },
    close(socket) {
      if (socket.data.live) open -= 1
    },
  },
})

answerCalls({ port: () => server.port, open: () => open })
