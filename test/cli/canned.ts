import { join } from 'node:path'
import { tempFolder } from '../support/temp.ts'
import { portcullis, type RunOptions } from './run.ts'

/** The API as one state of a cluster would have it, for states that no test can bring a real one into at will. */
export const startCanned = (answers: Record<string, unknown>) => {
  const asked: { method: string; path: string; body: unknown }[] = []
  const answer = async (request: Request) => {
    const { pathname, search } = new URL(request.url)
    const path = pathname.replace('/api/v1', '')
    const text = await request.text()
    asked.push({ method: request.method, path: path + search, body: text === '' ? null : JSON.parse(text) })
    const body = answers[`${request.method} ${path}`]
    return body === undefined ? new Response(null, { status: 500 }) : Response.json(body)
  }
  const data = tempFolder()
  const server = Bun.serve({ hostname: '127.0.0.1', port: 0, fetch: answer })
  const socket = Bun.serve({ unix: join(data, 'control.sock'), fetch: answer })
  const run = (...args: string[]) =>
    portcullis(['--url', `http://127.0.0.1:${server.port}`, ...args], { env: { PORTCULLIS_API_KEY: 'pca_canned' } })
  /** The same, as on the node's own machine. */
  const runHere = (args: string[], options?: RunOptions) => portcullis(['--data', data, ...args], options)
  const stop = async () => void (await Promise.all([server.stop(true), socket.stop(true)]))
  return { asked, run, runHere, [Symbol.asyncDispose]: stop }
}
