import { copyFileSync, mkdtempSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { version } from '../version.ts'
import { buildExecutable, ROOT } from './executable.ts'
import { fetchRuntime } from './runtime.ts'
import { TARGETS } from './target.ts'

const sha256 = async (file: string): Promise<string> => {
  const hasher = new Bun.CryptoHasher('sha256')
  for await (const chunk of Bun.file(file).stream()) hasher.update(chunk)
  return hasher.digest('hex')
}

/** Makes a folder of one executable a target, install.sh and their checksums; what was there before goes when all is done. */
const release = async (to: string): Promise<void> => {
  mkdirSync(dirname(to), { recursive: true })
  const folder = mkdtempSync(join(dirname(to), '.release-'))
  const [made, runtimes] = [join(folder, 'made'), join(folder, 'runtimes')]
  try {
    for (const path of [made, runtimes]) mkdirSync(path)
    const fetched = new Map<string, string>()
    const sums: string[] = []
    for (const { name, bun, runtime } of TARGETS) {
      if (!fetched.has(runtime)) fetched.set(runtime, fetchRuntime(runtime, runtimes))
      const file = `portcullis-${version.version}-${name}`
      buildExecutable(join(made, file), { target: bun, runtime: fetched.get(runtime) as string })
      sums.push(`${await sha256(join(made, file))}  ${file}\n`)
      console.log(file)
    }
    // Beside its executables it installs the right one of them.
    copyFileSync(join(ROOT, 'install.sh'), join(made, 'install.sh'))
    sums.push(`${await sha256(join(made, 'install.sh'))}  install.sh\n`)
    writeFileSync(join(made, 'SHA256SUMS'), sums.join(''))
    rmSync(to, { recursive: true, force: true })
    renameSync(made, to)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

await release(process.argv[2] ?? join(ROOT, 'dist/release'))
