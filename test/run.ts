import { readdirSync } from 'node:fs'
import { join } from 'node:path'

/** What `npm test` does: types, lint, the executable, then every test; the last line is the count. */

const run = (title: string, command: string[]): void => {
  console.log(`\n— ${title}`)
  const { exitCode } = Bun.spawnSync(command, { stdout: 'inherit', stderr: 'inherit' })
  if (exitCode === 0) return
  console.error(`${title} failed`)
  process.exit(exitCode)
}

/** The files that were asked for, or all: each a process of its own, so that none leans on another's state. */
const wanted = process.argv.slice(2)
const root = import.meta.dir
const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts') && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .toSorted()

if (wanted.length === 0) {
  run('types', ['bun', 'run', 'types'])
  run('lint', ['bun', 'run', 'lint'])
}
run('build', ['bun', 'run', 'build'])

let passed = 0
let failed = 0
const slow: [string, number][] = []
const broken: string[] = []

const runFile = async (file: string): Promise<void> => {
  const before = performance.now()
  const child = Bun.spawn(['bun', 'test', '--timeout', '60000', join(root, file)], { stdout: 'pipe', stderr: 'pipe' })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  const exitCode = await child.exited
  const text = out + err
  const count = (word: string) => Number(new RegExp(`^ *(\\d+) ${word}$`, 'm').exec(text)?.[1] ?? 0)
  passed += count('pass')
  failed += count('fail')
  const seconds = (performance.now() - before) / 1000
  slow.push([file, seconds])
  console.log(`${exitCode === 0 ? 'ok  ' : 'FAIL'} ${file} (${count('pass')} in ${seconds.toFixed(1)} s)`)
  if (exitCode !== 0) {
    broken.push(file)
    // A file that died before its first test counts as a failure too.
    if (count('fail') === 0) failed += 1
    console.log(text)
  } else if (/skipped loudly/i.test(text)) {
    console.log(
      text
        .split('\n')
        .filter((line) => /skipped loudly/i.test(line))
        .join('\n'),
    )
  }
}

/** Most of a file's time is waiting, so two are run at once; more would only slow each other down on a small machine. */
const left = files.values()
const lane = async () => {
  for (const file of left) await runFile(file)
}
await Promise.all([lane(), lane()])

const slowest = slow.toSorted((a, b) => b[1] - a[1]).slice(0, 5)
console.log(`\nslowest: ${slowest.map(([file, seconds]) => `${file} ${seconds.toFixed(1)} s`).join(', ')}`)
if (broken.length > 0) console.log(`broken: ${broken.join(', ')}`)
console.log(`\n${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
