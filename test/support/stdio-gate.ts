import type { StdioRequest } from '../../src/stdio.ts'
import { stdioProcesses } from './stdio-process.ts'

/**
 * Stands for a gate that is killed: `bun stdio-gate.ts DATA REQUEST…` runs each command, given as JSON, and prints a
 * line of JSON, {reaper, pids}, for each reaper it has had; then it lives on.
 */
const [dataFolder = '', ...requests] = process.argv.slice(2)
const { run, reaper } = stdioProcesses({ dataFolder })
const pids: number[] = []
for (const text of requests) {
  const { process: child, said } = await run(JSON.parse(text) as StdioRequest)
  pids.push(child.pid, ...((await said('family'))['pids'] as number[]))
}
let told: number | null = null
setInterval(() => {
  if (reaper.pid === told || reaper.pid === null) return
  told = reaper.pid
  console.log(JSON.stringify({ reaper: told, pids }))
}, 10)
