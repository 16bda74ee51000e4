import { answerCalls } from './child.ts'
import { CALL, INITIALIZE, INITIALIZED } from './mcp-bytes.ts'

/** A stdio server and its only client, nobody between them: one message a line, each written by itself as gateways do. */
type Answer = { id: number; result?: unknown }
const waiting = new Map<number, PromiseWithResolvers<void>>()
let server: Bun.Subprocess<'pipe', 'pipe', 'inherit'> | undefined
let nextId = 0
let ended = false

const write = (message: object): void => {
  void server?.stdin.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`)
  void server?.stdin.flush()
}

const ask = async (message: object): Promise<void> => {
  if (ended) throw new Error('the server ended')
  const answered = Promise.withResolvers<void>()
  nextId += 1
  waiting.set(nextId, answered)
  write({ id: nextId, ...message })
  return answered.promise
}

const take = (line: string): void => {
  const { id, result } = JSON.parse(line) as Answer
  if (result === undefined) waiting.get(id)?.reject(new Error(`answered: ${line.slice(0, 300)}`))
  else waiting.get(id)?.resolve()
  waiting.delete(id)
}

const read = async (stdout: ReadableStream<Uint8Array>): Promise<void> => {
  const decoder = new TextDecoder()
  let tail = ''
  for await (const bytes of stdout) {
    const lines = (tail + decoder.decode(bytes, { stream: true })).split('\n')
    tail = lines.pop() ?? ''
    for (const line of lines) take(line)
  }
  ended = true
  for (const { reject } of waiting.values()) reject(new Error('the server ended'))
}

const start = async (command: string[]): Promise<void> => {
  server = Bun.spawn(command, { stdio: ['pipe', 'pipe', 'inherit'] })
  void read(server.stdout)
  await ask(INITIALIZE)
  write(INITIALIZED)
}

/** So many calls under way at any time, the next after an answer. */
const rate = async ({ inFlight, ms }: { inFlight: number; ms: number }) => {
  const startedAt = performance.now()
  let answers = 0
  const keepAsking = async () => {
    while (performance.now() < startedAt + ms) {
      await ask(CALL)
      answers += 1
    }
  }
  await Promise.all(Array.from({ length: inFlight }, keepAsking))
  return { answers, tookMs: performance.now() - startedAt }
}

answerCalls({ start, rate })
