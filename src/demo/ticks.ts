const TICK_MS = 1_000

const numberOf = (lastEventId: string | null): number => {
  const last = Number(lastEventId ?? '0')
  return Number.isSafeInteger(last) && last >= 0 ? last : 0
}

/** An SSE stream with one event a second, numbered on from the request's `Last-Event-ID`. */
export const tickStream = (request: Request): Response => {
  const encoder = new TextEncoder()
  let n = numberOf(request.headers.get('last-event-id'))
  let timer: ReturnType<typeof setInterval> | undefined

  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const tick = () => {
          // A reader that stopped reading gets fewer ticks; nothing is queued for it.
          if ((controller.desiredSize ?? 0) <= 0) return
          n += 1
          const data = JSON.stringify({ n, at: new Date().toISOString() })
          controller.enqueue(encoder.encode(`id: ${n}\nevent: tick\ndata: ${data}\n\n`))
        }
        tick()
        timer = setInterval(tick, TICK_MS)
      },
      cancel() {
        clearInterval(timer)
      },
    },
    { highWaterMark: 16 },
  )

  return new Response(body, {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store' },
  })
}
