import { constants, rmSync } from 'node:fs'
import { access, link, open, rename, rm, unlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Command } from 'commander'
import { messageOf } from '../error.ts'
import { limits } from '../limits.ts'
import type { Cli } from './cli.ts'
import { Exit, failed, systemCode, usage } from './exit.ts'
import { bytes, writeRaw } from './output.ts'

const existing = (file: string) => failed(`${file} exists already and is left as it is; name another file.`)

/** A link fails where the name is taken, a rename would replace it; file systems without links need the latter. */
const settle = async (temporary: string, file: string): Promise<void> => {
  try {
    await link(temporary, file)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'EEXIST') throw existing(file)
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'EOPNOTSUPP') throw error
    return rename(temporary, file)
  }
  await unlink(temporary)
}

/** Makes the name last over a power cut, too. */
const syncFolder = async (folder: string): Promise<void> => {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Removes what was written when somebody breaks off; the signal then ends the process as it would have. */
const removedOnSignal = (temporary: string): (() => void) => {
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const end = (signal: NodeJS.Signals) => {
    rmSync(temporary, { force: true })
    stop()
    process.kill(process.pid, signal)
  }
  const stop = () => signals.forEach((signal) => process.off(signal, end))
  signals.forEach((signal) => process.on(signal, end))
  return stop
}

/** Writes a file of mode 0600 that is there whole or not at all; returns its size in bytes. */
const save = async (stream: ReadableStream<Uint8Array>, file: string): Promise<number> => {
  const temporary = join(dirname(file), `.${basename(file)}.${process.pid}.part`)
  const unwatched = removedOnSignal(temporary)
  try {
    const handle = await open(temporary, 'wx', 0o600)
    let size = 0
    let unsynced = 0
    try {
      for await (const chunk of stream) {
        await handle.writeFile(chunk)
        size += chunk.byteLength
        unsynced += chunk.byteLength
        if (unsynced < limits.backupSyncBytes) continue
        await handle.datasync()
        unsynced = 0
      }
      await handle.sync()
    } finally {
      await handle.close()
    }
    await settle(temporary, file)
    await syncFolder(dirname(file))
    return size
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  } finally {
    unwatched()
  }
}

const backup = async (cli: Cli, file: string): Promise<void> => {
  if (file === '') throw usage('Name a file, or - for stdout.')
  if (file === '-') {
    if (cli.json) throw usage('backup - writes the backup itself to stdout: leave --json out')
    if (process.stdout.isTTY) throw usage('A backup is not for a terminal: redirect stdout, or name a file.')
    for await (const chunk of await cli.client().download('/backup')) await writeRaw(chunk)
    return
  }
  // Asked before the node makes a backup for nothing; `settle` asks again, for good.
  const taken = await access(file, constants.F_OK).then(
    () => true,
    () => false,
  )
  if (taken) throw existing(file)
  const stream = await cli.client().download('/backup')
  try {
    const size = await save(stream, file)
    const text = `Wrote ${file} (${bytes(size)}). It holds the keys: guard it like them.`
    await cli.print({ file, bytes: size }, () => text)
  } catch (error) {
    throw error instanceof Exit ? error : failed(`Can't write ${file}: ${messageOf(error)}`)
  }
}

export const backupCommand = (program: Command, cli: Cli): void => {
  program
    .command('backup')
    .description('write database, keys and settings to one file, 0600: treat it as the key')
    .argument('<FILE>', 'a file that is not there yet, or - for stdout')
    .action((file: string) => backup(cli, file))
}
