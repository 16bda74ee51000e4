import { answerCalls } from './child.ts'
import { machineMs } from './clock.ts'
import { FIRST_EVENT, STREAM_HEAD, stampedEvent } from './words.ts'

/** The upstream of all proxies: a stream of events on every path, one event at once, then silence until `beat`. */
type Stream = { head: string; live: boolean }
const streams = new Set<Bun.Socket<Stream>>()
const server = Bun.listen<Stream>({
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
      streams.add(socket)
      socket.write(STREAM_HEAD + FIRST_EVENT)
    },
    end(socket) {
      socket.end()
    },
    close(socket) {
      streams.delete(socket)
    },
  },
})

let timer: Timer | undefined
let sent = 0

/**
 * So many events a second on every stream, each stamped with when it was written: one stream after the other, evenly, as
 * streams that know nothing of each other. 0 ends it; answers how many were sent.
 */
const beat = (perSecond: number): number => {
  clearInterval(timer)
  const before = sent
  sent = 0
  if (perSecond === 0) return before
  const all = [...streams]
  const startedAt = performance.now()
  timer = setInterval(() => {
    const due = ((performance.now() - startedAt) * perSecond * all.length) / 1_000
    for (; sent < due; sent += 1) all[sent % all.length]?.write(stampedEvent(machineMs()))
  }, 1)
  return 0
}

answerCalls({ port: () => server.port, open: () => streams.size, beat })
