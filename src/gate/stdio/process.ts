import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import {
  type JSONRPCMessage,
  parseJSONRPCMessage,
  serializeMessage,
  type Transport,
} from '@modelcontextprotocol/server'
import { messageOf } from '../../error.ts'
import type { Limits } from '../../limits.ts'
import { sizeText } from '../../size.ts'
import { notStartable, ProblemError, problems } from '../problem.ts'
import { hasMoreValues, isDeeper } from './depth.ts'
import { childrenOf, type Descendant, descendantsOf, isAlive } from './descendants.ts'
import type { Launch } from './launch.ts'
import { LineReader } from './line-reader.ts'
import { InputPipe } from './pipe.ts'
import type { Reaper } from './reaper.ts'

/** How a process ended. */
export interface ProcessEnd {
  code: number | null
  signal: string | null
  /** Nobody asked for it. */
  crashed: boolean
  /** For people: "exit code 1", "SIGKILL". */
  detail: string
}

export interface ProcessEvents {
  /** A line of its standard error, or one of its output that was no message; bounded, not redacted. */
  stderr(line: string): void
  /** It said its first message. */
  heard?(): void
}

/**
 * Limits, then the command. It waits for a line first, which is sent when the reaper knows the group: whatever becomes
 * of the gate in between, the command never runs unwatched. A limit that is already lower stays as it is. The soft
 * limit of CPU time is the lower one, so that the signal tells what happened. Shells export PWD, which nobody named;
 * a variable of this script's own would hide one of that name.
 */
const SCRIPT = `exec 2>&5 5>&-
read -r OLDPWD <&3 || exit 0
ulimit -c 0
ulimit -d "$1" 2>/dev/null || :
if [ "$2" != 0 ]; then ulimit -S -t "$2" && ulimit -H -t "$3"; fi 2>/dev/null || :
cd "$4" || exit 126
shift 4
unset PWD OLDPWD SHLVL
exec "$@" <&3 >&4 3<&- 4>&-`

/** A program that finds no memory mostly ends by one of these. */
const MAYBE_MEMORY = new Set(['SIGABRT', 'SIGTRAP', 'SIGSEGV', 'SIGILL', 'SIGBUS'])

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]))

const detailOf = (code: number | null, signal: string | null, { memoryBytes }: Launch): string => {
  // What stands between a process and us, a shell or a sandbox, tells of its signal so.
  const name = signal ?? (code !== null && code > 128 ? (signalNames.get(code - 128) ?? null) : null)
  const how = signal ?? `exit code ${code}`
  if (name === 'SIGXCPU') return `killed: out of CPU time (${how})`
  if (name !== null && MAYBE_MEMORY.has(name))
    return `${how}: it crashed, or found no memory under its limit of ${sizeText(memoryBytes)}`
  if (code === 126 || code === 127) return `${how}: the command could not be run`
  return name === signal ? how : `${how} (${name})`
}

/** One running command, as a transport to the server that it is: a message is a line. */
export class Process implements Transport {
  onmessage?: Transport['onmessage']
  onclose?: () => void
  onerror?: (error: Error) => void

  readonly startedAt = performance.now()
  readonly ended: Promise<ProcessEnd>
  end: ProcessEnd | null = null

  readonly #child: Bun.Subprocess
  readonly #input: InputPipe
  readonly #output: LineReader
  readonly #stderr: LineReader
  readonly #resolve: (end: ProcessEnd) => void
  #heard = false
  #muted = false
  #stopping = false
  #exited = false
  #finished = false
  /** Why we ended it though nobody had asked for that. */
  #failure: string | null = null
  /** What it had started when it was last asked to end. */
  #descendants: Descendant[] = []
  #timer: NodeJS.Timeout | undefined
  #toldSince = 0
  #toldBytes = 0

  constructor(
    readonly launch: Launch,
    readonly reaper: Reaper,
    readonly limits: Limits,
    readonly events: ProcessEvents,
  ) {
    const { promise, resolve } = Promise.withResolvers<ProcessEnd>()
    this.ended = promise
    this.#resolve = resolve
    this.#child = this.#spawn()
    const [, , , input, output, stderr] = this.#child.stdio as unknown as number[]
    this.#watch([input, output, stderr] as number[])
    this.#input = new InputPipe(input as number, limits.stdioInputBytesMax)
    this.#input.write(Buffer.from('\n'))
    const { stdioLineBytesMax, stdioStderrLineLengthMax, stdioLinesPerTurn: linesPerTurn } = limits
    const onDone = () => this.#finish()
    this.#output = new LineReader({
      ...{ fd: output as number, lineBytesMax: stdioLineBytesMax, linesPerTurn, onDone },
      onLine: (line) => this.#take(line),
      onCut: () => this.#fail(`a line of more than ${sizeText(stdioLineBytesMax)} on its standard output`),
    })
    this.#stderr = new LineReader({
      // Longer than what is kept: who redacts must see the whole of a secret that stands at the cut.
      ...{ fd: stderr as number, lineBytesMax: 4 * stdioStderrLineLengthMax, linesPerTurn, onDone },
      onLine: (line) => this.events.stderr(line),
      onBytes: (length) => this.#pace(length, this.#stderr),
    })
    this.#stderr.resume()
  }

  /** Also that of its group and its session. */
  get pid(): number {
    return this.#child.pid
  }

  /** From here on its messages are read. */
  start(): Promise<void> {
    this.resume()
    return Promise.resolve()
  }

  /**
   * Written at once, or as soon as the process reads. Rejects with `ProblemError` when it was muted or has ended, and
   * when it does not read and no more may wait.
   */
  async send(message: JSONRPCMessage): Promise<void> {
    if (this.#muted || this.#exited || this.#input.closed) throw new ProblemError(problems.serverExited)
    if (!this.#input.write(Buffer.from(serializeMessage(message)))) throw new ProblemError(problems.serverNotReading)
  }

  /** From now on nothing goes in, and nothing comes out. It is still read, or it would wait for that for ever. */
  mute(): void {
    if (this.#muted) return
    this.#muted = true
    this.#input.discard()
    this.#output.drop()
  }

  /** Asked to end; after the grace, or when only others are left of its group, made to. */
  stop(): void {
    this.mute()
    if (this.#stopping || this.#exited) return
    this.#stopping = true
    // Who left the group is found only while its parents live, and the end of its input may be the end of one.
    this.#descendants = descendantsOf(this.pid, this.limits.stdioDescendantsMax)
    this.#input.end()
    this.#terminate()
    this.#timer = setTimeout(() => this.#force(), this.limits.stdioGraceMs)
  }

  /** Ends it now. */
  kill(): void {
    this.stop()
    if (!this.#exited) this.#force()
  }

  /** Its output stays with it: it waits when a few hundred KiB are full. */
  pause(): void {
    if (!this.#exited) this.#output.pause()
  }

  resume(): void {
    this.#output.resume()
  }

  close(): Promise<void> {
    this.stop()
    return Promise.resolve()
  }

  #spawn(): Bun.Subprocess {
    const { argv, env, cwd, uid, gid, memoryBytes, cpuTimeMs } = this.launch
    const cpuTimeS = Math.ceil((cpuTimeMs ?? 0) / 1_000)
    const limits = [Math.floor(memoryBytes / 1_024), cpuTimeS, cpuTimeS + 1, cwd].map(String)
    try {
      return Bun.spawn(['/bin/sh', '-c', SCRIPT, 'sh', ...limits, ...argv], {
        // The folder may be in a home that only its owner may enter, which the child is not yet when it is told where to be.
        ...{ env, cwd: '/', uid, gid },
        // A session and a group of its own: all of it can be ended, and no signal of the gate's terminal reaches it.
        detached: true,
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
        onExit: ({ exitCode, signalCode }) =>
          this.#onExit(exitCode, typeof signalCode === 'number' ? (signalNames.get(signalCode) ?? null) : signalCode),
      })
    } catch (error) {
      throw new ProblemError(notStartable(`the command can't be started: ${messageOf(error)}`))
    }
  }

  #watch(descriptors: number[]): void {
    try {
      this.reaper.watch(this.pid)
    } catch (error) {
      // It has not begun, and never will.
      this.#exited = true
      this.#child.kill('SIGKILL')
      descriptors.forEach(closeSync)
      throw new ProblemError(notStartable(`the command can't be started: ${messageOf(error)}`))
    }
  }

  #take(line: string): void {
    const { rpcDepthMax, stdioValuesMax } = this.limits
    if (isDeeper(line, rpcDepthMax)) return this.#fail(`a message nested deeper than ${rpcDepthMax} levels`)
    if (hasMoreValues(line, stdioValuesMax)) return this.#fail(`a message of more than ${stdioValuesMax} values`)
    const messages = messagesOf(line)
    if (!messages) {
      // Servers print banners there, and what they would have better said on their standard error.
      if (line.trim() !== '') this.events.stderr(`stdout: ${line.slice(0, 4 * this.limits.stdioStderrLineLengthMax)}`)
      this.#pace(line.length + 1, this.#output)
      return
    }
    if (!this.#heard) this.events.heard?.()
    this.#heard = true
    for (const message of messages) if (!this.#muted) this.onmessage?.(message)
  }

  /** What is only told, and was not asked for, takes no core of ours: who says too much of it waits. */
  #pace(bytes: number, reader: LineReader): void {
    const now = performance.now()
    if (now - this.#toldSince > 1_000) {
      this.#toldSince = now
      this.#toldBytes = 0
    }
    this.#toldBytes += bytes
    if (this.#toldBytes >= this.limits.stdioStderrBytesPerSecond && !this.#exited) reader.pace()
  }

  #fail(detail: string): void {
    this.#failure = detail
    this.stop()
  }

  #terminate(): void {
    if (!this.launch.sandbox) return this.#signal('SIGTERM', -this.pid)
    // The sandbox would end at once, and all in it: what it runs is asked, which is its child's child.
    for (const child of childrenOf(this.pid)) for (const pid of childrenOf(child)) this.#signal('SIGTERM', pid)
  }

  #force(): void {
    this.#descendants.push(...descendantsOf(this.pid, this.limits.stdioDescendantsMax))
    this.#signal('SIGKILL', -this.pid)
  }

  #signal(signal: NodeJS.Signals, pid: number): void {
    try {
      process.kill(pid, signal)
    } catch (error) {
      // ESRCH: there is nobody left. EPERM: it has made itself somebody else's.
      if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return
      this.events.stderr(`portcullis: ${signal}: ${messageOf(error)}`)
    }
  }

  #onExit(code: number | null, signal: string | null): void {
    // It was ended before it began.
    if (this.#exited) return
    this.#exited = true
    // No stranger has its number: while one of the group lives it is not given out, and else only after all others.
    this.#signal('SIGKILL', -this.pid)
    for (const descendant of this.#descendants) if (isAlive(descendant)) this.#signal('SIGKILL', descendant.pid)
    this.reaper.forget(this.pid)
    clearTimeout(this.#timer)
    const detail = this.#failure ?? detailOf(code, signal, this.launch)
    const crashed = this.#failure !== null || !(this.#stopping || this.#muted)
    this.end = { code, signal, crashed, detail }
    this.#input.end()
    // Its last words may still be in the pipes; somebody who left the group may hold them open.
    this.#timer = setTimeout(() => {
      this.#output.close()
      this.#stderr.close()
    }, this.limits.stdioDrainMs)
    this.#stderr.drain()
    this.#output.drain()
    this.#finish()
  }

  #finish(): void {
    if (!this.end || this.#finished || !this.#output.done || !this.#stderr.done) return
    this.#finished = true
    clearTimeout(this.#timer)
    const rest = this.#stderr.rest()
    if (rest !== '') this.events.stderr(rest)
    this.#resolve(this.end)
    this.onclose?.()
  }
}

/** Throws `ProblemError` (502, `server-not-startable`). Nothing is read of it before `start`. */
export const spawnProcess = (launch: Launch, reaper: Reaper, limits: Limits, events: ProcessEvents): Process =>
  new Process(launch, reaper, limits, events)

/** What a line says: a message, or a batch of them (2025-03-26); null: none. */
const messagesOf = (line: string): JSONRPCMessage[] | null => {
  if (!line.startsWith('{') && !line.startsWith('[')) return null
  try {
    const value: unknown = JSON.parse(line)
    return Array.isArray(value) ? value.map((one) => parseJSONRPCMessage(one)) : [parseJSONRPCMessage(value)]
  } catch {
    // No JSON, or no JSON-RPC: it is told as what it is.
    return null
  }
}
