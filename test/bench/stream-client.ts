import { answerCalls } from './child.ts'
import { machineMs } from './clock.ts'
import { median, percentile } from './figures.ts'

export type Opening = { port: number; request: string; streams: number }
/** How long events took from the origin's stamp until they were here. */
export type Delays = { count: number; medianMs: number; p99Ms: number; maxMs: number }

/** Openings under way at once. */
const OPENING_MAX = 128
const MARK = 'data: '

let sockets: Bun.Socket<{ tail: string }>[] = []
let delays: number[] = []
let ended = 0
let arrived = 0

/** Each whole event's stamp, wherever it was torn; what is left over waits for the rest. */
const read = (text: string, now: number): string => {
  let at = 0
  for (;;) {
    const start = text.indexOf(MARK, at)
    const end = start === -1 ? -1 : text.indexOf('\n', start)
    if (end === -1) return text.slice(start === -1 ? Math.max(at, text.length - MARK.length) : start)
    const stamp = Number(text.slice(start + MARK.length, end))
    // The first event of a stream has no stamp.
    if (stamp > 0) {
      delays.push(now - stamp)
      arrived += 1
    }
    at = end
  }
}

const openOne = async ({ port, request }: Opening): Promise<void> => {
  const live = Promise.withResolvers<void>()
  const gone = () => {
    ended += 1
    live.reject(new Error('a stream ended'))
  }
  const socket = await Bun.connect<{ tail: string }>({
    hostname: '127.0.0.1',
    port,
    data: { tail: '' },
    socket: {
      data: (own, bytes) => {
        const text = own.data.tail + bytes.toString('latin1')
        if (text.includes(MARK)) live.resolve()
        own.data.tail = read(text, machineMs())
      },
      close: gone,
      error: gone,
    },
  })
  sockets.push(socket)
  socket.write(request)
  await live.promise
}

const open = async (opening: Opening): Promise<void> => {
  let started = 0
  const opener = async () => {
    while (started < opening.streams) {
      started += 1
      await openOne(opening)
    }
  }
  await Promise.all(Array.from({ length: Math.min(OPENING_MAX, opening.streams) }, opener))
  ended = 0
}

const record = async (ms: number): Promise<Delays> => {
  Bun.gc(true)
  delays = []
  await Bun.sleep(ms)
  const all = delays
  delays = []
  if (ended > 0) throw new Error(`${ended} streams ended`)
  return { count: all.length, medianMs: median(all), p99Ms: percentile(all, 99), maxMs: percentile(all, 100) }
}

const close = (): void => {
  for (const socket of sockets) socket.terminate()
  sockets = []
  arrived = 0
}

answerCalls({ open, record, close, arrived: () => arrived })
