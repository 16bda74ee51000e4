import { chmodSync, copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { builtBinary } from '../support/binary.ts'

const SCRIPT = join(import.meta.dir, '../../install.sh')

/** Puts what is downloaded into /opt/portcullis of a Debian: install.sh, the executable, its checksum. */
export const putRelease = (root: string): void => {
  const folder = join(root, 'opt/portcullis')
  mkdirSync(folder, { recursive: true })
  copyFileSync(SCRIPT, join(folder, 'install.sh'))
  const name = `portcullis-${packageJson.version}-linux-x64`
  copyFileSync(builtBinary(), join(folder, name))
  // As a download comes.
  chmodSync(join(folder, name), 0o644)
  const { stdout } = Bun.spawnSync(['sha256sum', name], { cwd: folder })
  writeFileSync(join(folder, 'SHA256SUMS'), stdout)
}
