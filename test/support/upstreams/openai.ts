type Chat = { model: string; stream?: boolean }

const HELD = 'held'

/**
 * Chat completions as OpenAI's API speaks them. The model `held` stops half way and stays open,
 * every other one answers in full.
 */
export const startOpenAI = async (pieces = ['Por', 'tcul', 'lis ', 'höl', 't.']) => {
  const requests: { model: string; at: number; cancelledAt: number | null }[] = []
  const shared = { id: 'chatcmpl-1', created: 1_790_000_000 }

  const stream = (model: string): ReadableStream<Uint8Array> => {
    const encoder = new TextEncoder()
    const chunk = (delta: object, finish: string | null) => {
      const choices = [{ index: 0, delta, finish_reason: finish }]
      return `data: ${JSON.stringify({ ...shared, object: 'chat.completion.chunk', model, choices })}\n\n`
    }
    const half = Math.ceil(pieces.length / 2)
    const held = model === HELD
    return new ReadableStream({
      start: async (controller) => {
        for (const content of held ? pieces.slice(0, half) : pieces) {
          controller.enqueue(encoder.encode(chunk({ role: 'assistant', content }, null)))
          await Bun.sleep(1)
        }
        if (held) return
        controller.enqueue(encoder.encode(`${chunk({}, 'stop')}data: [DONE]\n\n`))
        controller.close()
      },
    })
  }

  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    idleTimeout: 0,
    fetch: async (request) => {
      if (new URL(request.url).pathname !== '/v1/chat/completions') return new Response('not found', { status: 404 })
      const { model, stream: streamed } = (await request.json()) as Chat
      const record = { model, at: performance.now(), cancelledAt: null as number | null }
      requests.push(record)
      request.signal.addEventListener('abort', () => {
        record.cancelledAt = performance.now()
      })
      if (streamed) return new Response(stream(model), { headers: { 'Content-Type': 'text/event-stream' } })
      const message = { role: 'assistant', content: pieces.join('') }
      const choices = [{ index: 0, message, finish_reason: 'stop' }]
      return Response.json({ ...shared, object: 'chat.completion', model, choices })
    },
  })
  return { url: `http://127.0.0.1:${server.port}`, requests, text: pieces.join(''), stop: () => server.stop(true) }
}
