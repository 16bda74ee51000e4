import { AUTHORITY } from './network.ts'

/** curl, which speaks HTTP/2 where a proxy does, and can call from another address. */
export const curl = (args: string[], input?: 'pipe') => {
  const child = Bun.spawn(['curl', '--silent', '--no-buffer', '--http2', '--cacert', AUTHORITY, ...args], {
    stdin: input ?? 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  let text = ''
  let lastArrivalAt = 0
  const read = (async () => {
    for await (const chunk of child.stdout) {
      text += new TextDecoder().decode(chunk)
      lastArrivalAt = performance.now()
    }
  })()
  return {
    text: () => text,
    lastArrivalAt: () => lastArrivalAt,
    /** A piece of the body; null ends it. */
    send: (piece: string | null) => {
      const { stdin } = child as { stdin?: Bun.FileSink }
      if (piece === null) return void stdin?.end()
      stdin?.write(piece)
      void stdin?.flush()
    },
    kill: () => child.kill(),
    /** curl's own code: 0, or e.g. 18 (ended too early) and 92 (HTTP/2 stream reset). */
    exited: Promise.all([child.exited, read]).then(([code]) => code),
  }
}

export const headers = (given: Record<string, string>): string[] =>
  Object.entries(given).flatMap(([name, value]) => ['--header', `${name}: ${value}`])
