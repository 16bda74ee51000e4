/** An upstream whose every stream says an event now and then until it is cut; any other path answers at once. */
export const startStreamUpstream = (hostname = '127.0.0.1') => {
  const server = Bun.serve({
    hostname,
    port: 0,
    idleTimeout: 0,
    fetch(request) {
      if (!new URL(request.url).pathname.endsWith('/stream')) return new Response('ok')
      let timer: NodeJS.Timeout
      const body = new ReadableStream({
        start(controller) {
          const say = () => controller.enqueue(`data: ${Date.now()}\n\n`)
          say()
          timer = setInterval(say, 20)
        },
        cancel: () => clearInterval(timer),
      })
      return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
    },
  })
  return {
    url: `http://${hostname}:${server.port}`,
    /** A stream through a gate whose first event has come; `text` is all of it, once it has ended. */
    async open(gate: string, token: string) {
      const response = await fetch(`${gate}/s/live/stream`, { headers: { authorization: `Bearer ${token}` } })
      if (response.status !== 200 || !response.body) throw new Error(`the stream answered ${response.status}`)
      const first = Promise.withResolvers<void>()
      let endedAt = 0
      const text = (async () => {
        let all = ''
        const decoder = new TextDecoder()
        for await (const chunk of response.body as ReadableStream<Uint8Array>) {
          all += decoder.decode(chunk, { stream: true })
          first.resolve()
        }
        endedAt = performance.now()
        return all
      })()
      await first.promise
      return { text, endedAt: () => endedAt }
    },
    stop: () => server.stop(true),
  }
}
