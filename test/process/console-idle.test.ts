import { afterEach, beforeEach, expect, test } from 'bun:test'
import { join } from 'node:path'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

let folder: string
beforeEach(() => {
  folder = tempFolder()
})
afterEach(() => removeFolder(folder))

/** The console's own listener, in a process of its own since its limit is read once: four minutes are too long for a test. */
const LISTENER = `
  import { limits } from './src/limits.ts'
  limits.idleConnectionMs = 1_000
  const { listen } = await import('./src/server/doors/listen.ts')
  const address = { host: '127.0.0.1', port: 0 }
  const config = { listen: address, console: address, tls: null, publicUrl: null, consoleUrl: null }
  const listener = listen(config, process.argv.at(-1))
  const answers = Promise.withResolvers()
  process.on('SIGUSR2', answers.resolve)
  listener.serveConsole({
    async console(request) {
      if (request.method === 'GET') await answers.promise
      return new Response(\`whole: \${await request.text()}\`)
    },
    socket: () => new Response(null),
  })
  console.log(listener.bound.console.port)
`

test('a body that stops arriving holds no connection of the console; an answer may take as long as it likes', async () => {
  await using child = Bun.spawn([process.execPath, '-e', LISTENER, join(folder, 'control.sock')], {
    cwd: join(import.meta.dir, '../..'),
    stdout: 'pipe',
    stderr: 'inherit',
  })
  const { value } = await child.stdout.getReader().read()
  const port = Number(new TextDecoder().decode(value))
  const send = async (text: string) => {
    const state = { got: '', closed: false }
    const socket = await Bun.connect({
      hostname: '127.0.0.1',
      port,
      socket: {
        data(_socket, bytes) {
          state.got += bytes.toString()
        },
        close() {
          state.closed = true
        },
      },
    })
    socket.write(text)
    return state
  }
  const asked = await send('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const whole = await send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab')
  const halves = [
    await send('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na'),
    await send('POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n'),
  ]
  const wait = { timeoutMs: 20_000, everyMs: 50 }
  await eventually(() => halves.every(({ closed }) => closed), { ...wait, what: 'both are closed' })
  expect(halves.map(({ got }) => got)).toEqual(['', ''])
  expect(whole.got).toEndWith('whole: ab')
  // It was silent for longer than they were.
  expect(asked).toEqual({ got: '', closed: false })
  child.kill('SIGUSR2')
  await eventually(() => asked.got.endsWith('whole: '), { ...wait, what: 'the answer that took longer' })
})
