import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { pinned, type Side } from './machine.ts'
import { familyOf } from './meter.ts'

export const HOST = '127.0.0.1'

const accepts = async (port: number): Promise<boolean> => {
  const socket = await Bun.connect({ hostname: HOST, port, socket: { data: () => undefined } })
  socket.terminate()
  return true
}

/** A file, with its name. */
export const written = async (file: string, text: string): Promise<string> => {
  await Bun.write(file, text)
  return file
}

interface Start {
  name: string
  side: Side
  /** Given the folder that it may use, and that goes with it. */
  command: (folder: string) => string[] | Promise<string[]>
  /** It is ready once it accepts connections here. */
  port: number
  env?: Record<string, string>
}

/** Somebody else's program, pinned, in a folder of its own. */
export const startProgram = async ({ name, side, command, port, env = {} }: Start) => {
  const folder = tempFolder()
  const child = Bun.spawn(pinned(side, await command(folder)), {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said = new Response(child.stderr).text()
  const isGone = () => child.exitCode !== null || child.signalCode !== null
  const kill = () => {
    // A master that is killed leaves its workers behind.
    if (!isGone()) for (const pid of familyOf(child.pid)) process.kill(pid, 'SIGKILL')
  }
  process.on('exit', kill)
  const stop = async () => {
    kill()
    await child.exited
    process.off('exit', kill)
    removeFolder(folder)
  }
  try {
    await eventually(() => isGone() || accepts(port), { timeoutMs: 20_000, everyMs: 20, what: name })
    if (isGone()) throw new Error(`it ended with ${child.exitCode ?? child.signalCode}`)
  } catch (error) {
    await stop()
    throw new Error(`${name} did not start: ${await said}`, { cause: error })
  }
  return { pid: child.pid, folder, stop }
}
