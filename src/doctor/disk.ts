import { closeSync, constants, fsyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type Finding, finding } from '../finding.ts'
import { nearest } from './folder.ts'
import { codeOf, seen } from './path.ts'
import type { Subject } from './subject.ts'

const MIB = 1024 * 1024
const FULL = 'free some space: a full disk stops every change but revoke, kill and close'

/** Free space and inodes: for the database, and for the copies that an upgrade and a backup make beside it. */
export const disk = ({ folder, files, deps, closed }: Subject): Finding[] => {
  if (closed) return []
  const { bavail, bsize, ffree, files: inodes } = statfsSync(nearest(folder))
  const free = bavail * bsize
  const database = seen(files.database)
  const { freeBytesMin, freeInodesMin, upgradeRoomFactor } = deps.limits
  const copies = typeof database === 'object' ? upgradeRoomFactor * database.size : 0
  const text = `${Math.floor(free / MIB)} MiB free`
  if (free < freeBytesMin) return [finding('disk', 'fail', text, FULL)]
  // Some file systems make inodes as they are needed, and count none.
  if (inodes > 0 && ffree < freeInodesMin)
    return [finding('disk', 'fail', `${text}, but only ${ffree} more files can be made`, 'remove some files')]
  if (free < copies) {
    const needs = `an upgrade needs ${Math.ceil(copies / MIB)} MiB, a backup as much as the database has`
    return [finding('disk', 'warn', `${text}; ${needs}`, 'have that much free before you upgrade')]
  }
  return [finding('disk', 'ok', text)]
}

/** A file without a name, which nobody finds and no crash leaves (Linux: open(2), O_TMPFILE). */
const NAMELESS = 0o20_000_000 | constants.O_DIRECTORY

const withFile = <T>(folder: string, use: (fd: number) => T): T => {
  let fd: number
  let name: string | null = null
  try {
    if (process.platform !== 'linux') throw Object.assign(new Error('not on this system'), { code: 'ENOTSUP' })
    fd = openSync(folder, NAMELESS | constants.O_RDWR, 0o600)
  } catch (error) {
    if (!['ENOTSUP', 'EOPNOTSUPP', 'EISDIR', 'EINVAL', 'ENOENT'].includes(codeOf(error) ?? '')) throw error
    name = join(folder, 'doctor.tmp')
    fd = openSync(name, 'wx', 0o600)
  }
  try {
    return use(fd)
  } finally {
    closeSync(fd)
    if (name !== null) rmSync(name, { force: true })
  }
}

const ROUNDS = 7

/** How long the disk takes until a write is safe: every revocation waits for one. */
export const fsync = ({ folder, deps, closed }: Subject): Finding[] => {
  const at = seen(folder)
  if (closed || typeof at !== 'object' || !at.isDirectory()) return []
  const times = withFile(folder, (fd) =>
    Array.from({ length: ROUNDS }, () => {
      const before = performance.now()
      writeSync(fd, 'x')
      fsyncSync(fd)
      return performance.now() - before
    }).toSorted((a, b) => a - b),
  )
  const ms = times[Math.floor(ROUNDS / 2)] as number
  const took = `an fsync takes ${ms.toFixed(1)} ms`
  if (ms <= deps.limits.fsyncMsMax) return [finding('fsync', 'ok', took)]
  return [finding('fsync', 'warn', took, 'every revocation waits for one: put the data folder on a faster local disk')]
}
