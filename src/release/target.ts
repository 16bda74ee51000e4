/** A machine that a release is made for. */
export interface Target {
  /** The end of the file's name. */
  name: string
  /** As Bun names it. */
  bun: string
  /** The package that carries Bun for it, whose checksum stands in bun.lock. */
  runtime: string
}

const target = (name: string, runtime: string): Target => ({
  name,
  bun: `bun-${name}`,
  runtime: `@oven/bun-${runtime}`,
})

/**
 * "baseline" is for processors without AVX2, as in many a NAS. Bun 1.4.5 publishes the same bytes for both, so that the
 * two files are the same one under two names: who looks for theirs finds it, also when Bun tells them apart again.
 */
export const TARGETS: readonly Target[] = [
  target('linux-x64', 'linux-x64'),
  target('linux-x64-baseline', 'linux-x64'),
  target('linux-arm64', 'linux-aarch64'),
  target('linux-x64-musl', 'linux-x64-musl'),
  target('linux-x64-musl-baseline', 'linux-x64-musl'),
  target('linux-arm64-musl', 'linux-aarch64-musl'),
  target('darwin-arm64', 'darwin-aarch64'),
  target('darwin-x64', 'darwin-x64'),
]
