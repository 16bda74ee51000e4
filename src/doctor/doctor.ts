import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config.ts'
import { messageOf } from '../error.ts'
import type { Finding } from '../finding.ts'

const FREE_BYTES_MIN = 100 * 1024 * 1024
/** Above this an fsync decides how fast a revocation is: SD cards and network file systems. */
const FSYNC_MS_MAX = 10

const finding = (check: string, level: Finding['level'], text: string, todo = ''): Finding => ({
  check,
  level,
  ok: level === 'ok',
  finding: text,
  todo,
})

const mode = (check: string, path: string, allowed: number): Finding => {
  if (!existsSync(path)) return finding(check, 'warn', `${path} is not there yet`, 'it is made by the first start')
  const bits = statSync(path).mode & 0o777
  const text = `${path} has mode ${bits.toString(8)}`
  return bits & ~allowed & 0o777
    ? finding(check, 'fail', text, `chmod ${allowed.toString(8)} ${path}`)
    : finding(check, 'ok', text)
}

const fsyncMs = (folder: string): number => {
  const file = join(folder, 'doctor.tmp')
  const fd = openSync(file, 'w', 0o600)
  try {
    const times = Array.from({ length: 5 }, () => {
      const before = performance.now()
      writeSync(fd, 'x')
      fsyncSync(fd)
      return performance.now() - before
    }).toSorted((a, b) => a - b)
    return times[2] as number
  } finally {
    closeSync(fd)
    rmSync(file, { force: true })
  }
}

/** Looks at what a node stands on. Changes nothing. */
export const doctor = async (config: Config, version: string): Promise<Finding[]> => {
  const findings = [finding('version', 'ok', `portcullis ${version}`)]
  findings.push(mode('data folder', config.data, 0o700))
  findings.push(mode('key file', config.keyFile, 0o600))
  findings.push(mode('database', join(config.data, 'portcullis.db'), 0o600))
  if (existsSync(config.data)) {
    try {
      const { bavail, bsize } = statfsSync(config.data)
      const free = bavail * bsize
      const text = `${Math.round(free / 1024 / 1024)} MiB free`
      findings.push(
        free < FREE_BYTES_MIN
          ? finding('disk', 'fail', text, 'free some space: a full disk stops every change but revoke, kill and close')
          : finding('disk', 'ok', text),
      )
      const ms = fsyncMs(config.data)
      const took = `an fsync takes ${ms.toFixed(1)} ms`
      findings.push(
        ms > FSYNC_MS_MAX
          ? finding('fsync', 'warn', took, 'every revocation waits for one: put the data folder on a faster disk')
          : finding('fsync', 'ok', took),
      )
    } catch (error) {
      findings.push(finding('disk', 'fail', messageOf(error), 'run doctor as the user that runs portcullis'))
    }
  }
  const year = new Date().getUTCFullYear()
  findings.push(
    year < 2026 || year > 2100
      ? finding('clock', 'fail', `the clock says ${year}`, 'set the clock: expiry follows it')
      : finding('clock', 'ok', new Date().toISOString()),
  )
  return findings
}
