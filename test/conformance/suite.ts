import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { tempFolder, removeFolder } from '../support/temp.ts'
import { findNode } from '../support/find-node.ts'

/** A public conformance suite, at the exact version in package.json, with what it is known to ask and to find. */
export type Suite = {
  name: string
  /** The name of its package here. */
  package: string
  args: string[]
  scenarios: number
  /** Checks that our upstream passes directly, at least. */
  successes: number
  /** Checks that it does not pass directly either, as `scenario id`, and why. */
  excused: Record<string, string>
}

export type Status = 'SUCCESS' | 'INFO' | 'WARNING' | 'SKIPPED' | 'FAILURE'
export type Check = { scenario: string; id: string; status: Status; message: string }

/** The longest takes 10 s; under a test's own minute, so that what it printed is seen. */
const SUITE_MS = 50_000
/** Of one that is not ours to make faster. */
export const SUITES_MS_MAX = 300_000

/** Runs a suite against an MCP server. `token` is shown in a header; every check comes back as the suite wrote it. */
export const runSuite = async (suite: Suite, url: string, token?: string, withinMs = SUITE_MS): Promise<Check[]> => {
  const results = tempFolder()
  const bearer = token === undefined ? [] : ['--import', join(import.meta.dir, 'bearer.mjs')]
  const script = join(dirname(Bun.resolveSync(`${suite.package}/package.json`, import.meta.dir)), 'dist/index.js')
  const child = Bun.spawn(
    [findNode(), ...bearer, script, 'server', '--url', url, ...suite.args, '--output-dir', results],
    {
      env: token === undefined ? {} : { CONFORMANCE_ORIGIN: new URL(url).origin, CONFORMANCE_TOKEN: token },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      timeout: withinMs,
      killSignal: 'SIGKILL',
    },
  )
  const [printed, complaints] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  try {
    const checks = await readChecks(results)
    // It exits 1 when a check failed; anything else is not a result.
    if ((child.exitCode !== 0 && child.exitCode !== 1) || checks.length === 0)
      throw new Error(
        `${suite.name} gave no result (${child.exitCode ?? child.signalCode}):\n${printed.slice(-2_000)}\n${complaints}`,
      )
    return checks
  } finally {
    removeFolder(results)
  }
}

/** Each scenario has a folder of its own; one that threw leaves it empty. */
const readChecks = async (results: string): Promise<Check[]> => {
  const checks: Check[] = []
  for (const folder of readdirSync(results).toSorted()) {
    const scenario = /^server-(.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z$/.exec(folder)?.[1]
    if (scenario === undefined) throw new Error(`the suite wrote ${folder}, which is not a scenario's folder`)
    const file = Bun.file(join(results, folder, 'checks.json'))
    const found = (await file.exists())
      ? ((await file.json()) as { id: string; status: Status; errorMessage?: string }[])
      : [{ id: scenario, status: 'FAILURE' as const, errorMessage: 'the scenario threw' }]
    checks.push(...found.map(({ id, status, errorMessage }) => ({ scenario, id, status, message: errorMessage ?? '' })))
  }
  return checks
}

export const scenariosOf = (checks: Check[]): Set<string> => new Set(checks.map(({ scenario }) => scenario))
