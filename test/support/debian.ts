import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeFolder, tempFolder } from './temp.ts'

/** What a fresh Debian has beyond its smallest: enough to boot, and a second shell to try scripts in. */
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'busybox', 'curl', 'ca-certificates', 'iproute2']
const BASE = join(tmpdir(), 'portcullis-debian-bookworm-1')

/** Whether a Debian can be made in a folder; where tests must not be skipped, that it can't is a failure. */
export const mayDebootstrap = (): boolean => {
  if (process.getuid?.() === 0 && Bun.which('debootstrap')) return true
  if (process.env['CI']) throw new Error('this test needs root and debootstrap in CI')
  console.warn('SKIPPED LOUDLY: a Debian to install into can only be made as root, by debootstrap')
  return false
}

/** Made once a machine (some 25 s), then only read: each test lays its own changes over it. */
const base = async (): Promise<string> => {
  if (existsSync(BASE)) return BASE
  const made = `${BASE}-${process.pid}`
  await Bun.$`debootstrap --variant=minbase --include=${PACKAGES.join(',')} bookworm ${made}`.quiet()
  try {
    renameSync(made, BASE)
  } catch (error) {
    // Another test was first.
    if (!existsSync(BASE)) throw error
    await Bun.$`rm -rf ${made}`
  }
  return BASE
}

/** A fresh Debian 12 in a folder, which is gone when it is disposed of. */
export const freshDebian = async () => {
  const folder = tempFolder()
  const [upper, work, root] = ['upper', 'work', 'root'].map((name) => join(folder, name)) as [string, string, string]
  for (const path of [upper, work, root]) mkdirSync(path)
  await Bun.$`mount -t overlay overlay -o lowerdir=${await base()},upperdir=${upper},workdir=${work} ${root}`.quiet()
  return {
    root,
    [Symbol.asyncDispose]: async () => {
      await Bun.$`umount --recursive ${root}`.nothrow().quiet()
      removeFolder(folder)
    },
  }
}
