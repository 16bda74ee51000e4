import { answerCalls } from './child.ts'
import { HttpConnection } from './connection.ts'
import { median, percentile } from './figures.ts'

/** Where requests go: one after the other of `requests`, over and over. */
export interface Target {
  port: number
  requests: string[]
  status: string
  /** What a right answer holds. */
  holds?: string
}
export type Rate = { answers: number; tookMs: number; medianMs: number; p99Ms: number; clientCpuMs: number }
export type Paced = Rate & { lateMsMax: number }

const HOST = '127.0.0.1'
/** Connections beyond which a request waits for a free one, and is late. */
const PACED_CONNECTIONS_MAX = 256
/** The pause between paced requests: timers count in whole milliseconds, which would send them in bursts. */
const PACE_MS = 0.2
/** Who was kept from its core catches up a little each time: one burst of all that is overdue would be our own making. */
const CATCH_UP = 2

const ask = async (connection: HttpConnection, bytes: string, { status, holds = '' }: Target): Promise<void> => {
  const answer = await connection.ask(bytes)
  if (answer.status === status && answer.text.includes(holds)) return
  throw new Error(`answered ${answer.status}: ${answer.text.slice(0, 300)}`)
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1_000
}

const measured = (latencies: number[], startedAt: number, cpuBefore: number): Rate => ({
  answers: latencies.length,
  tookMs: performance.now() - startedAt,
  medianMs: median(latencies),
  p99Ms: percentile(latencies, 99),
  clientCpuMs: cpuMs() - cpuBefore,
})

/** As many as each connection can, the next after the answer to the last. */
const rate = async ({ target, connections, ms }: { target: Target; connections: number; ms: number }) => {
  const all = await Promise.all(Array.from({ length: connections }, () => HttpConnection.to(HOST, target.port)))
  const latencies: number[] = []
  const [startedAt, cpuBefore] = [performance.now(), cpuMs()]
  let sent = 0
  const keepAsking = async (connection: HttpConnection) => {
    for (let before = performance.now(); before < startedAt + ms;) {
      await ask(connection, target.requests[sent++ % target.requests.length] ?? '', target)
      const now = performance.now()
      latencies.push(now - before)
      before = now
    }
  }
  await Promise.all(all.map(keepAsking))
  for (const connection of all) connection.close()
  return measured(latencies, startedAt, cpuBefore)
}

/** One client, one request after the other, a target after the other: the milliseconds of each target's requests. */
const alternate = async ({ targets, count }: { targets: Target[]; count: number }): Promise<number[][]> => {
  const all = await Promise.all(targets.map(({ port }) => HttpConnection.to(HOST, port)))
  const latencies = targets.map((): number[] => [])
  for (let turn = 0; turn < count; turn += 1) {
    for (const [at, target] of targets.entries()) {
      const before = performance.now()
      await ask(all[at] as HttpConnection, target.requests[turn % target.requests.length] ?? '', target)
      latencies[at]?.push(performance.now() - before)
    }
  }
  for (const connection of all) connection.close()
  return latencies
}

const nobody = new Int32Array(new SharedArrayBuffer(4))
/** Waiting for what nobody wakes takes a few hundredths of a core, where turning until it is time takes all of it. */
const pause = (): Promise<void> => {
  Atomics.wait(nobody, 0, 0, PACE_MS)
  return new Promise((resolve) => void setImmediate(resolve))
}

/** So many a second whatever the answers take (an open loop), evenly; times run from when each was due. */
const pace = async ({ target, perSecond, ms }: { target: Target; perSecond: number; ms: number }): Promise<Paced> => {
  const free: HttpConnection[] = []
  const due: number[] = []
  const running = new Set<Promise<void>>()
  const latencies: number[] = []
  const [startedAt, cpuBefore] = [performance.now(), cpuMs()]
  let [opened, planned, sent, lateMsMax] = [0, 0, 0, 0]
  let failure: unknown
  const atOnceMax = CATCH_UP * Math.ceil((perSecond * PACE_MS) / 1_000)
  const serve = async (): Promise<void> => {
    const kept = free.pop()
    if (!kept) opened += 1
    const connection = kept ?? (await HttpConnection.to(HOST, target.port))
    for (let dueAt = due.shift(); dueAt !== undefined; dueAt = due.shift()) {
      lateMsMax = Math.max(lateMsMax, performance.now() - dueAt)
      await ask(connection, target.requests[sent++ % target.requests.length] ?? '', target)
      latencies.push(performance.now() - dueAt)
    }
    free.push(connection)
  }
  for (let now = startedAt; now < startedAt + ms; now = performance.now()) {
    const end = Math.min(planned + atOnceMax, ((now - startedAt) * perSecond) / 1_000)
    for (; planned < end; planned += 1) {
      due.push(startedAt + (planned * 1_000) / perSecond)
      if (free.length === 0 && opened >= PACED_CONNECTIONS_MAX) continue
      const work = serve()
        .catch((error: unknown) => void (failure ??= error))
        .finally(() => running.delete(work))
      running.add(work)
    }
    await pause()
  }
  await Promise.all(running)
  for (const connection of free) connection.close()
  if (failure !== undefined) throw failure
  return { ...measured(latencies, startedAt, cpuBefore), lateMsMax }
}

answerCalls({ rate, alternate, pace })
