import { HOST } from './program.ts'

/** Long enough for any start; a program that needs longer does not work. */
const WAIT_MS_MAX = 60_000

const answered = (port: number): Promise<boolean> => {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  Bun.connect({
    hostname: HOST,
    port,
    socket: {
      open: (socket) => void socket.write(`GET /healthz HTTP/1.1\r\nHost: ${HOST}\r\n\r\n`),
      data: (socket, bytes) => {
        resolve(bytes.toString('latin1').startsWith('HTTP/1.1 200'))
        socket.terminate()
      },
      close: () => resolve(false),
      error: () => resolve(false),
    },
  }).catch(() => resolve(false))
  return promise
}

/** From starting a program until a request is answered with 200: it is asked again and again, every millisecond. */
export const startToFirstAnswer = async (command: string[], port: number) => {
  const before = performance.now()
  const child = Bun.spawn(command, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] ?? '' } })
  const said = new Response(child.stderr).text()
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    await child.exited
  }
  while (!(await answered(port))) {
    if (child.exitCode !== null) throw new Error(`${command.join(' ')} ended with ${child.exitCode}: ${await said}`)
    if (performance.now() - before > WAIT_MS_MAX) {
      await stop('SIGKILL')
      throw new Error(`${command.join(' ')} did not answer: ${await said}`)
    }
    await Bun.sleep(1)
  }
  return { ms: performance.now() - before, pid: child.pid, stop }
}

export const serveCommand = (binary: string, folder: string, port: number): string[] => [
  ...[binary, 'serve', '--data', folder, '--listen', `${HOST}:${port}`, '--console', `${HOST}:0`],
]
