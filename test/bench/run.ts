/** `bun run bench NAME`: figures and ratios; they never decide, only something that did not work does. */
const BENCHES: Record<string, () => Promise<{ run: () => Promise<string[]> }>> = {
  console: () => import('./console.ts'),
  kill: () => import('./kill.ts'),
  mcp: () => import('./mcp.ts'),
}

export {}

const name = process.argv[2] ?? ''
const load = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined
if (!load) {
  console.error(`usage: bun run bench ${Object.keys(BENCHES).join('|')}`)
  process.exit(2)
}
const failures = await (await load()).run()
for (const failure of failures) console.error(`FAILED  ${failure}`)
process.exit(failures.length === 0 ? 0 : 1)
