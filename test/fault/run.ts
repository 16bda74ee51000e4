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

const argv = process.argv.slice(2)
const size: Size = argv.includes('--short') ? 'short' : 'long'
const seedAt = argv.indexOf('--seed')
const seed = seedAt === -1 ? (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) : Number(argv[seedAt + 1])
const named = argv.filter((word, at) => !word.startsWith('--') && at !== seedAt + 1)
const unknown = named.filter((name) => !Object.hasOwn(PARTS, name))
if (unknown.length > 0 || !Number.isInteger(seed)) {
  console.error(`usage: bun run faults [${Object.keys(PARTS).join('|')}]… [--short] [--seed N]`)
  process.exit(2)
}

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
