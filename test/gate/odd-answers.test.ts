import { expect, test } from 'bun:test'
import { eventually } from '../support/poll.ts'
import { startSmallGate } from '../support/small-gate.ts'

const STATUSES = ['600', '700', '999', '099']

test('an answer whose status is none of HTTP ends its request, and leaves nothing', async () => {
  let says = ''
  const upstream = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      data(socket) {
        socket.end(says)
      },
    },
  })
  await using gate = startSmallGate(`http://127.0.0.1:${upstream.port}`, {})
  const headers = { Authorization: `Bearer ${gate.secretUnder(null)}` }
  for (const status of STATUSES) {
    for (const rest of ['Content-Length: 0\r\n\r\n', 'Content-Type: text/event-stream\r\n\r\ndata: x\n\n']) {
      says = `HTTP/1.1 ${status} Odd\r\n${rest}`
      const answer = await fetch(`${gate.url}/x`, { headers, signal: AbortSignal.timeout(10_000) })
      expect(answer.status).toBe(502)
      expect(await answer.json()).toMatchObject({ type: 'urn:portcullis:problem:upstream-failed' })
    }
  }
  await eventually(() => gate.registry.size === 0)
  upstream.stop(true)
})
