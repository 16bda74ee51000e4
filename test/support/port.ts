/** Below those that systems give to whoever connects: a node that is away for a while finds its own free again. */
const PORTS = { from: 20_000, to: 32_000 }

const given = new Set<number>()

/** Nobody listens there now, and nobody of this process asked for it before: who did may not listen yet, or be down. */
export const freePort = (): number => {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from))
    if (given.has(port)) continue
    try {
      Bun.listen({ hostname: '127.0.0.1', port, exclusive: true, socket: { data() {} } }).stop(true)
      given.add(port)
      return port
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    }
  }
}
