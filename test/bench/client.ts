import { answerCalls } from './child.ts'
import { type Command, connectCommand } from './command.ts'
import { type Ending, Watch } from './watch.ts'

export type Round = {
  hostname: string
  port: number
  /** Sent on each stream's connection. */
  request: string
  streams: number
  command: Command
}
export type Outcome = {
  /** Milliseconds from just before the command was sent. */
  firstMs: number
  lastMs: number
  answerMs: number
  answer: string
  farewells: number
  endings: Record<Ending | 'none', number>
  trailing: number
}

const OPENING_MAX = 256
const OPEN_WAIT_MS = 60_000
const END_WAIT_MS = 10_000

const within = <T>(ms: number, what: string, promise: Promise<T>): Promise<T> => {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`not within ${ms} ms: ${what}`)), ms)
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer))
}

/** Opens one stream and waits for its first event. */
const openStream = async ({ hostname, port, request }: Round, onEnded: () => void): Promise<Watch> => {
  const live = Promise.withResolvers<void>()
  const watch = new Watch(live.resolve, () => {
    live.resolve()
    onEnded()
  })
  watch.socket = await Bun.connect<Watch>({
    hostname,
    port,
    data: watch,
    socket: {
      data: ({ data }, bytes) => data.take(bytes),
      end: ({ data }) => data.end('fin'),
      close: ({ data }, error) => data.end(error ? 'reset' : 'fin'),
      error: ({ data }) => data.end('reset'),
    },
  })
  watch.socket.write(request)
  await live.promise
  if (watch.status !== '200' || watch.ending) throw new Error(`a stream did not open: ${watch.status} ${watch.ending}`)
  return watch
}

const openAll = async (round: Round, onEnded: () => void): Promise<Watch[]> => {
  const watches: Watch[] = []
  let started = 0
  const opener = async () => {
    while (started < round.streams) {
      started += 1
      watches.push(await openStream(round, onEnded))
    }
  }
  const openers = Array.from({ length: Math.min(OPENING_MAX, round.streams) }, opener)
  await within(OPEN_WAIT_MS, `${round.streams} streams are open`, Promise.all(openers))
  return watches
}

const count = (watches: Watch[], which: (watch: Watch) => boolean): number => watches.filter(which).length

/** Opens streams, kills them and says when each was seen to end. */
const play = async (round: Round): Promise<Outcome> => {
  const all = Promise.withResolvers<void>()
  let left = round.streams
  const watches = await openAll(round, () => {
    left -= 1
    if (left === 0) all.resolve()
  })
  const connection = await connectCommand(round.command)
  if (round.command.warmUp) await connection.send(round.command.warmUp)
  // What opening them left behind must not be collected while the clock runs.
  Bun.gc(true)
  await Bun.sleep(round.streams === 1 ? 5 : 200)

  const sentAt = performance.now()
  const answer = await within(END_WAIT_MS, 'the command is answered', connection.send(round.command.bytes))
  await within(END_WAIT_MS, 'every stream has ended', all.promise).catch(() => undefined)
  // Long enough for a late byte to be noticed.
  await Bun.sleep(5)

  const endedAt = watches.flatMap((watch) => watch.endedAt ?? [])
  const ended = (ending: Ending | null) => count(watches, (watch) => watch.ending === ending)
  for (const { socket } of watches) socket?.terminate()
  connection.close()
  return {
    firstMs: Math.min(...endedAt) - sentAt,
    lastMs: Math.max(...endedAt) - sentAt,
    answerMs: answer.at - sentAt,
    answer: answer.text,
    farewells: count(watches, (watch) => watch.farewell),
    endings: { terminator: ended('terminator'), fin: ended('fin'), reset: ended('reset'), none: ended(null) },
    trailing: count(watches, (watch) => watch.trailing),
  }
}

answerCalls({ play })
