import { join } from 'node:path'
import { eventually } from '../poll.ts'
import { freePort } from '../port.ts'

const PACKAGE = join(import.meta.dir, '../../../node_modules/@modelcontextprotocol/server-everything')

/** How the reference server is run; its mode follows. */
export const EVERYTHING = ['node', join(PACKAGE, 'dist/index.js')]

/** The reference server, as a process of its own. `path` is where a client is to connect under `url`. */
export const startEverything = async (mode: 'streamableHttp' | 'sse') => {
  // It can't be told to take any and say which.
  const port = freePort()
  const child = Bun.spawn([...EVERYTHING, mode], {
    env: { PATH: process.env['PATH'] ?? '', PORT: String(port) },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  const kill = () => child.kill('SIGKILL')
  process.on('exit', kill)
  const stop = async () => {
    kill()
    await child.exited
    process.off('exit', kill)
  }
  const url = `http://127.0.0.1:${port}`
  await eventually(() => fetch(`${url}/nothing`), { timeoutMs: 15_000, everyMs: 50, what: `${mode} listens` }).catch(
    async (error: unknown) => {
      await stop()
      throw error
    },
  )
  return { url, path: mode === 'sse' ? '/sse' : '/mcp', stop }
}
