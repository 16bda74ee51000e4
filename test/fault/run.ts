import { parseArgs } from 'node:util'
import type { FaultPart, Size } from './fault.ts'

/**
 * `bun run faults [PART]… [--short] [--seed N]`: breaks the running program, and says whether an acknowledged revocation
 * was ever lost, or a dead token ever passed. Exits 1 when one was.
 */
const PARTS: Record<string, () => Promise<{ run: FaultPart }>> = {
  kill: () => import('./kill.ts'),
  power: () => import('./power.ts'),
  disk: () => import('./disk.ts'),
  order: () => import('./order.ts'),
  wire: () => import('./wire.ts'),
  clock: () => import('./clock.ts'),
  soak: () => import('./soak.ts'),
}

const usage = (): never => {
  console.error(`usage: bun run faults [${Object.keys(PARTS).join('|')}]… [--short] [--seed N]`)
  process.exit(2)
}

const asked = () => {
  try {
    return parseArgs({
      args: process.argv.slice(2),
      allowPositionals: true,
      options: { short: { type: 'boolean' }, seed: { type: 'string' } },
    })
  } catch {
    return usage()
  }
}

const { positionals: named, values } = asked()
const size: Size = values.short ? 'short' : 'long'
const seed = values.seed === undefined ? (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) : Number(values.seed)
if (named.some((name) => !Object.hasOwn(PARTS, name)) || !Number.isSafeInteger(seed) || values.seed === '') usage()

// Whoever breaks it off leaves nothing behind either: folders and processes go with the exit.
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130))

let failed = 0
for (const [name, load] of Object.entries(PARTS)) {
  if (named.length > 0 && !named.includes(name)) continue
  console.log(`\n— ${name} (${size}, --seed ${seed})`)
  const before = performance.now()
  const { run } = await load()
  const { counts, failures } = await run(size, seed)
  for (const [what, count] of Object.entries(counts)) console.log(`  ${String(count).padStart(9)} ${what}`)
  for (const failure of failures) console.error(`FAILED  ${failure}`)
  failed += failures.length
  console.log(`  ${((performance.now() - before) / 1000).toFixed(0)} s, ${failures.length} failures`)
}
console.log(failed === 0 ? '\nall held' : `\n${failed} did not hold`)
process.exit(failed === 0 ? 0 : 1)
