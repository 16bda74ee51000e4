import { answerCalls } from './child.ts'
import { FAREWELL_CHUNK, FIRST_EVENT, LAST_CHUNK, STREAM_HEAD } from './words.ts'

/**
 * The floor: no proxy, no HTTP, no disk. Sockets that were sent the same bytes get the last ones in a loop on
 * command: `end` closes them too; `write` leaves them open, as the gate leaves a connection that is kept alive.
 */
const held = new Set<Bun.Socket<undefined>>()
const streams = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    data(socket) {
      if (held.has(socket)) return
      held.add(socket)
      socket.write(STREAM_HEAD + FIRST_EVENT)
    },
    close(socket) {
      held.delete(socket)
    },
  },
})
const commands = Bun.listen({
  hostname: '127.0.0.1',
  port: 0,
  socket: {
    data(command, bytes) {
      const closes = bytes.toString().startsWith('end')
      const last = FAREWELL_CHUNK + LAST_CHUNK
      for (const socket of held) {
        if (closes) socket.end(last)
        else socket.write(last)
      }
      held.clear()
      command.end('done\n')
    },
  },
})

answerCalls({ ports: () => ({ streams: streams.port, commands: commands.port }) })
