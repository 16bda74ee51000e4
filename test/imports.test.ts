import { expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'

/** Imports go one way. Each part of the house may import itself and what stands beside it here. */
const MAY: Record<string, string[]> = {
  domain: [],
  store: ['domain'],
  gate: ['domain'],
  cluster: ['domain'],
  worker: ['domain'],
  views: ['domain'],
  demo: ['domain'],
  release: ['domain'],
  selftest: ['domain'],
  // Of the server, the doctor and the command line know the API's JSON, as types.
  doctor: ['domain', 'server/api/schemas.ts'],
  cli: ['domain', 'server/api/schemas.ts'],
  server: ['domain', 'views'],
  main: ['domain', 'store', 'gate', 'cluster', 'cluster', 'selftest', 'worker', 'demo', 'doctor', 'cli', 'server'],
}

/** What the domain must not know, wherever it comes from. */
const NOT_IN_DOMAIN = /^(?:elysia|@elysiajs\/|drizzle-orm|hono|bun:sqlite|commander|htmx)/

const src = join(import.meta.dir, '../src')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter(
  (file) => /\.tsx?$/.test(file) && !file.endsWith('.d.ts'),
)

const partOf = (file: string): string => {
  if (file === 'main.ts') return 'main'
  return file.includes('/') ? (file.split('/')[0] as string) : 'domain'
}

const importsOf = (file: string): string[] =>
  [
    ...readFileSync(join(src, file), 'utf8').matchAll(
      /^(?:import|export)\s[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]/gm,
    ),
  ].map(([, plain, dynamic]) => (plain ?? dynamic) as string)

test.each(files)('%s imports only what its place allows', (file) => {
  const part = partOf(file)
  const allowed = MAY[part]
  expect(allowed, `src/${part} is a new place: say in this test what it may import`).toBeDefined()
  for (const imported of importsOf(file)) {
    if (!imported.startsWith('.')) {
      if (part === 'domain') expect(imported).not.toMatch(NOT_IN_DOMAIN)
      continue
    }
    const target = normalize(join(file, '..', imported))
    if (target.startsWith('..')) continue
    const ok = partOf(target) === part || allowed?.some((place) => place === target || place === partOf(target))
    expect(ok, `src/${file} imports src/${target}`).toBe(true)
  }
})

test('there is something to look at', () => {
  expect(files.length).toBeGreaterThan(50)
})
