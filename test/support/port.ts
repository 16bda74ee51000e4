/** Below those that systems give to whoever connects: a node that is away for a while finds its own free again. */
const PORTS = { from: 20_000, to: 32_000 }

/** Nobody listens there now. */
export const freePort = (): number => {
  for (;;) {
    const port = PORTS.from + Math.floor(Math.random() * (PORTS.to - PORTS.from))
    try {
      Bun.listen({ hostname: '127.0.0.1', port, exclusive: true, socket: { data() {} } }).stop(true)
      return port
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    }
  }
}
