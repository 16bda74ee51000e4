import { join } from 'node:path'
import type { NodeJson, RevocationJson, ServerJson, TokenIssuedJson } from '../../src/server/api/schemas.ts'
import { eventually } from './poll.ts'
import { removeFolder, tempFolder } from './temp.ts'

const ROOT = join(import.meta.dir, '../..')

export type NodeOptions = {
  /** A folder of the caller's, who also removes it; without it a fresh one that `stop` removes. */
  data?: string
  args?: string[]
  env?: Record<string, string>
  /** What to run in place of the sources, e.g. `['dist/portcullis']`. */
  command?: string[]
}
export type Answer<T> = { status: number; headers: Headers; json: T }
export type TestNode = Awaited<ReturnType<typeof startNode>>

const collect = (stream: ReadableStream<Uint8Array>) => {
  let text = ''
  const decoder = new TextDecoder()
  const done = (async () => {
    for await (const chunk of stream) text += decoder.decode(chunk, { stream: true })
  })()
  return { text: () => text, done }
}

/** Runs a node as a process of its own, as a user would, on free ports and a folder of its own. */
export const startNode = async (options: NodeOptions = {}) => {
  const data = options.data ?? tempFolder()
  const command = options.command ?? [process.execPath, 'src/main.ts']
  const flags = ['serve', '--data', data, '--listen', '127.0.0.1:0', '--console', '127.0.0.1:0']
  const child = Bun.spawn([...command, ...flags, ...(options.args ?? [])], {
    cwd: ROOT,
    // Nothing of the test runner's environment: a setting of the developer's must not decide a test.
    env: { PATH: process.env['PATH'] ?? '', HOME: data, ...options.env },
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr] = [collect(child.stdout), collect(child.stderr)]
  const killAtExit = () => child.kill('SIGKILL')
  process.on('exit', killAtExit)

  const unix = join(data, 'control.sock')
  const api = async <T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer<T>> => {
    const response = await fetch(`http://localhost/api/v1${path}`, {
      unix,
      // Idle connections are held for four minutes, and would look like files that are never closed.
      keepalive: false,
      method,
      headers: {
        'X-Portcullis-Actor': 'local:0',
        ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, json: (text ? JSON.parse(text) : null) as T }
  }
  const expecting = async <T>(status: number, ...call: Parameters<typeof api>): Promise<T> => {
    const answer = await api<T>(...call)
    if (answer.status === status) return answer.json
    throw new Error(`${call[0]} ${call[1]} answered ${answer.status}: ${JSON.stringify(answer.json)}\n${stderr.text()}`)
  }

  const cleanUp = () => {
    process.off('exit', killAtExit)
    if (options.data === undefined) removeFolder(data)
  }
  const stop = async (): Promise<number> => {
    child.kill('SIGTERM')
    // The contract gives it five seconds; one that needs more is killed, and that shows in the code.
    const late = setTimeout(killAtExit, 8_000)
    const code = await child.exited
    clearTimeout(late)
    await Promise.all([stdout.done, stderr.done])
    cleanUp()
    return code
  }

  const node = await eventually(
    async () => {
      if (child.exitCode !== null) return { gone: child.exitCode }
      return expecting<NodeJson>(200, 'GET', '/node')
    },
    { timeoutMs: 15_000, everyMs: 10, what: 'the node answers on control.sock' },
  ).catch((error: unknown) => ({ gone: String(error) }))
  if ('gone' in node) {
    killAtExit()
    await child.exited
    cleanUp()
    throw new Error(`the node did not start (${node.gone})\n${stdout.text()}\n${stderr.text()}`)
  }

  return {
    data,
    pid: child.pid,
    gate: node.gateUrl,
    console: node.consoleUrl,
    stdout: stdout.text,
    stderr: stderr.text,
    api,
    /** Adds a server without probing it, so that an upstream's record of requests holds only the test's. */
    addServer: (name: string, url: string, extra: Record<string, unknown> = {}) =>
      expecting<ServerJson>(201, 'POST', '/servers', { name, url, probe: false, ...extra }),
    /** Adds a server that is a command, without looking at it. */
    addCommand: (name: string, command: string[], { path = '', ...stdio }: Record<string, unknown> = {}) =>
      expecting<ServerJson>(201, 'POST', '/servers', { name, path, probe: false, stdio: { command, ...stdio } }),
    /** The secret is in `token`, here and never again. */
    createToken: async (name: string, servers: string[], extra: Record<string, unknown> = {}) => {
      const issued = await expecting<TokenIssuedJson>(201, 'POST', '/tokens', { name, servers, ...extra })
      if (!issued.token) throw new Error(`no secret in the answer to POST /tokens for ${name}`)
      return { ...issued, token: issued.token }
    },
    revoke: async (body: Record<string, unknown>) => {
      const answer = await api<RevocationJson>('POST', '/revocations', { reason: 'compromised', ...body })
      if (answer.status >= 300) throw new Error(`revoke answered ${answer.status}: ${JSON.stringify(answer.json)}`)
      return answer.json
    },
    /** How much memory the process holds, in bytes, as the kernel counts it. */
    residentBytes: async () => {
      const pages = (await Bun.file(`/proc/${child.pid}/statm`).text()).split(' ')[1]
      return Number(pages) * 4096
    },
    exited: child.exited,
    kill: (signal: NodeJS.Signals) => child.kill(signal),
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
    },
  }
}
