import { freePort } from './port.ts'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { eventually } from './poll.ts'
import { removeFolder, tempFolder } from './temp.ts'

/** Whether Prometheus and its promtool are here; where tests must not be skipped, that they are not is a failure. */
export const hasPrometheus = (): boolean => {
  if (Bun.which('prometheus') && Bun.which('promtool')) return true
  if (process.env['CI'])
    throw new Error('this test needs prometheus and promtool (the package prometheus of Debian) in CI')
  console.warn('SKIPPED LOUDLY: alerts and dashboards can only be checked with prometheus and promtool')
  return false
}

/** What promtool says, and how it ends. */
export const promtool = async (args: string[], stdin = ''): Promise<{ code: number; said: string }> => {
  const child = Bun.spawn(['promtool', ...args], { stdin: Buffer.from(stdin), stdout: 'pipe', stderr: 'pipe' })
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { code, said: out + err }
}

export interface Alert {
  state: 'pending' | 'firing'
  labels: Record<string, string>
  annotations: Record<string, string>
}

/** The result of an instant query. */
export interface Found {
  metric: Record<string, string>
  value: [at: number, value: string]
}

/** A Prometheus of its own: `config` is prometheus.yml as a value, `files` what it names. */
export const startPrometheus = async (config: unknown, files: Record<string, string> = {}) => {
  const folder = tempFolder()
  const storage = join(folder, 'data')
  mkdirSync(storage)
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o600 })
  const file = join(folder, 'prometheus.yml')
  // YAML is a superset of JSON.
  writeFileSync(file, JSON.stringify(config))
  const port = freePort()
  const address = `127.0.0.1:${port}`
  const child = Bun.spawn(
    ['prometheus', `--config.file=${file}`, `--storage.tsdb.path=${storage}`, `--web.listen-address=${address}`],
    { cwd: folder, stdout: 'pipe', stderr: 'pipe' },
  )
  const said = new Response(child.stderr).text()
  const kill = () => child.kill('SIGKILL')
  process.on('exit', kill)
  const stop = async () => {
    kill()
    await child.exited
    process.off('exit', kill)
    removeFolder(folder)
  }
  const get = async <T>(path: string, parameters: Record<string, string> = {}): Promise<T> => {
    const response = await fetch(`http://${address}/api/v1/${path}?${new URLSearchParams(parameters).toString()}`)
    const json = (await response.json()) as { status: string; error?: string; data: T }
    if (json.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${json.error}`)
    return json.data
  }
  try {
    await eventually(async () => child.exitCode !== null || (await fetch(`http://${address}/-/ready`)).ok, {
      timeoutMs: 20_000,
      everyMs: 50,
      what: 'Prometheus is ready',
    })
    if (child.exitCode !== null) throw new Error(await said)
  } catch (error) {
    await stop()
    throw error
  }
  return {
    /** An instant query; throws what Prometheus says is wrong with it. */
    query: async (query: string): Promise<Found[]> => (await get<{ result: Found[] }>('query', { query })).result,
    alerts: async (): Promise<Alert[]> => (await get<{ alerts: Alert[] }>('alerts')).alerts,
    rules: () => get<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>('rules'),
    targets: () => get<{ activeTargets: { scrapeUrl: string; health: string; lastError: string }[] }>('targets'),
    [Symbol.asyncDispose]: stop,
  }
}
