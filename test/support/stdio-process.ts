import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { JSONRPCMessage } from '@modelcontextprotocol/server'
import { type LaunchDeps, launchOf, type StdioServer } from '../../src/gate/stdio/launch.ts'
import { type Process, spawnProcess } from '../../src/gate/stdio/process.ts'
import { Reaper } from '../../src/gate/stdio/reaper.ts'
import { type Limits, limits } from '../../src/limits.ts'
import { STDIO_URL, type StdioRequest, stdioSpec } from '../../src/stdio.ts'
import { eventually } from './poll.ts'
import { tempFolder } from './temp.ts'

const ROOT = join(import.meta.dir, '../..')

/** The command that runs a program of ./upstreams/stdio. */
export const program = (name: 'mcp' | 'raw', ...args: string[]): string[] => [
  process.execPath,
  join(import.meta.dir, `upstreams/stdio/${name}.ts`),
  ...args,
]

/** What a sandbox must be allowed to see for `program`, wherever the checkout lies. */
export const programSeen: string[] = [`${ROOT}:ro`, `${process.execPath}:ro`]

export const stdioServer = (request: StdioRequest, name = 'test'): StdioServer => ({
  id: `id-of-${name}`,
  name,
  url: new URL(STDIO_URL),
  kind: 'stdio',
  path: '',
  headers: [],
  stdio: stdioSpec(request, 'node'),
  state: 'open',
  reason: null,
  createdAt: 0,
  removedAt: null,
})

/** A process and what it said. */
export interface Run {
  process: Process
  messages: JSONRPCMessage[]
  stderr: string[]
  /** The parameters of the first notification of that name, once it came. */
  said: (method: string) => Promise<Record<string, unknown>>
}

/** Runs commands as the gate does, in a data folder of its own. */
export const stdioProcesses = (given: { dataFolder?: string; limits?: Partial<Limits> } & Partial<LaunchDeps> = {}) => {
  const { limits: own = {}, dataFolder = tempFolder(), env = process.env, ...deps } = given
  const all: Limits = { ...limits, ...own }
  const reaper = new Reaper()
  const runs: Run[] = []

  const spawn = async (request: StdioRequest): Promise<Run> => {
    const launch = await launchOf(stdioServer(request), { dataFolder, env, ...deps })
    const messages: JSONRPCMessage[] = []
    const stderr: string[] = []
    const child = spawnProcess(launch, reaper, all, { stderr: (line) => stderr.push(line) })
    child.onmessage = (message) => messages.push(message)
    const said = (method: string) =>
      eventually(() => messages.map((message) => paramsOf(message, method)).find(Boolean), {
        timeoutMs: 15_000,
        what: `it says "${method}"`,
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}; it ended: ${JSON.stringify(child.end)}, and said ${stderr.join('\n')}`)
      })
    const run = { process: child, messages, stderr, said }
    runs.push(run)
    return run
  }

  return {
    dataFolder,
    reaper,
    spawn,
    /** The same, and it is read. */
    run: async (request: StdioRequest): Promise<Run> => {
      const run = await spawn(request)
      await run.process.start()
      return run
    },
    /** Ends all. */
    end: async (): Promise<void> => {
      for (const { process: child } of runs) child.kill()
      await Promise.all(runs.map(({ process: child }) => child.ended))
      reaper.stop()
    },
  }
}

const paramsOf = (message: JSONRPCMessage, method: string): Record<string, unknown> | undefined =>
  'method' in message && message.method === method ? (message.params ?? {}) : undefined

/** Whether a process lives: one that has ended, and that nobody has asked about, does not. */
export const lives = (pid: number): boolean => {
  const fields = statOf(pid)
  return fields !== null && fields[0] !== 'Z'
}

/** The living processes of a group. */
export const groupOf = (pgid: number): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && lives(pid) && statOf(pid)?.[2] === String(pgid))

/** What stands behind the name in /proc/PID/stat (proc(5)): state, parent, group, … */
const statOf = (pid: number): string[] | null => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    // It is gone.
    return null
  }
}

/** Bytes that a process has written in all (proc(5)). */
export const writtenBy = (pid: number): number =>
  Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])

/** Bytes that a process has read in all. */
export const readFrom = (pid: number): number =>
  Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1])
