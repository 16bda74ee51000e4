import { HOST } from './program.ts'
import { pinned } from './machine.ts'
import { getBytes, type ReverseProxy } from './reverse-proxy.ts'
import type { Child } from './child.ts'
import type { Rate } from './load.ts'
import { executableOf } from './versions.ts'

const MS = { us: 0.001, ms: 1, s: 1_000 }

const figureOf = (text: string, pattern: RegExp): number => {
  const [, value, unit = 'ms'] = pattern.exec(text) ?? []
  return Number(value) * MS[unit as keyof typeof MS]
}

/** Small GETs by wrk, in C, which costs the other core least; where it is not installed by our own client. */
export const rateOf = async (
  client: Child,
  proxy: ReverseProxy,
  { path, connections, ms }: { path: string; connections: number; ms: number },
): Promise<Rate> => {
  const executable = executableOf('wrk')
  if (executable === null) {
    const target = { port: proxy.port, requests: [getBytes(proxy, path)], status: '200' }
    return client.call<Rate>('rate', { target, connections, ms })
  }
  const seconds = Math.max(1, Math.round(ms / 1_000))
  const flags = ['-t', '1', '-c', `${connections}`, '-d', `${seconds}s`, '--latency']
  const url = `http://${HOST}:${proxy.port}${proxy.prefix}${path}`
  const wrk = Bun.spawn(pinned('load', [executable, ...flags, '-H', `Authorization: Bearer ${proxy.token}`, url]), {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const [text, said] = await Promise.all([new Response(wrk.stdout).text(), new Response(wrk.stderr).text()])
  await wrk.exited
  const [, answers = '0', took = '0', unit = 's'] = /(\d+) requests in ([\d.]+)(ms|s|m)/.exec(text) ?? []
  // A timeout is wrk's word for an answer after two seconds, and no more than slow.
  const wrong = /Non-2xx.*|Socket errors: (?!connect 0, read 0, write 0,).*/.exec(text)?.[0]
  if (answers === '0' || wrong) throw new Error(`wrk: ${wrong ?? `${said}${text}`}`)
  return {
    answers: Number(answers),
    tookMs: Number(took) * (unit === 'm' ? 60_000 : MS[unit as 's' | 'ms']),
    medianMs: figureOf(text, /50%\s+([\d.]+)(us|ms|s)/),
    p99Ms: figureOf(text, /99%\s+([\d.]+)(us|ms|s)/),
    clientCpuMs: Number(wrk.resourceUsage()?.cpuTime.total ?? 0) / 1_000,
  }
}
