import { readFileSync } from 'node:fs'
import { ask } from '../support/raw.ts'
import { bearer } from '../support/secret.ts'
import type { startNode } from '../support/node.ts'

const REQUESTS = 20_000
const CONNECTIONS = 8
/** The kernel counts a process's time in hundredths of a second. */
const TICK_MS = 10

export type Cost = { perSecond: number; gateCpuUs: number }

/** How long a process was on a processor, in milliseconds (proc(5): utime and stime). */
const cpuMsOf = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS
}

/** Sends one request again and again on each of some kept connections. */
const hammer = async (url: string, bytes: string, status: string): Promise<void> => {
  const { hostname, port } = new URL(url)
  let left = REQUESTS
  const wanted = `HTTP/1.1 ${status}`
  const one = () =>
    new Promise<void>((resolve, reject) => {
      let inFlight = 0
      const next = (socket: Bun.Socket) => {
        if (left === 0) {
          socket.end()
          return resolve()
        }
        left -= 1
        inFlight += 1
        socket.write(bytes)
      }
      Bun.connect({
        hostname,
        port: Number(port),
        socket: {
          open: next,
          data: (socket, data) => {
            // Answers are small: each arrives in one piece, head and body.
            if (!data.toString('latin1').startsWith(wanted)) return reject(new Error(data.toString('latin1')))
            inFlight -= 1
            next(socket)
          },
          close: () => (inFlight > 0 ? reject(new Error('the gate closed a kept connection')) : resolve()),
          error: (_socket, error) => reject(error),
        },
      }).catch(reject)
    })
  await Promise.all(Array.from({ length: CONNECTIONS }, one))
}

export const costOf = async (
  node: Awaited<ReturnType<typeof startNode>>,
  target: string,
  secret: string,
  status: string,
): Promise<Cost> => {
  const headers = bearer(secret)
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const bytes = `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${head.join('')}\r\n`
  const first = await ask(node.gate, { target, headers })
  if (String(first.status) !== status) throw new Error(`${target} answered ${first.status}, not ${status}`)
  const cpuBefore = cpuMsOf(node.pid)
  const before = performance.now()
  await hammer(node.gate, bytes, status)
  const tookMs = performance.now() - before
  return {
    perSecond: Math.round((REQUESTS / tookMs) * 1_000),
    gateCpuUs: ((cpuMsOf(node.pid) - cpuBefore) * 1_000) / REQUESTS,
  }
}
