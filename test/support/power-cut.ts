import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import type { Random } from './random.ts'
import { type Call, textOf } from './strace.ts'

/**
 * What a disk may hold after a power cut, by a model that is stricter than Linux' file systems are:
 *
 * - What was written to a file lasts once `fsync` or `fdatasync` of that file returned, and its length with it. Until
 *   then any of it may be there and any may not, sector by sector, in any order; where a file became longer and its
 *   bytes did not arrive, there are zeros.
 * - A name (made, renamed, linked, removed) lasts once the folder that it stands in was synced: syncing the file does
 *   not help (it would on ext4, XFS and btrfs). A rename happens whole or not at all.
 * - A sync that failed made nothing last, and what it should have written is not written by a later one either, unless
 *   it is written again: the kernel holds those pages for clean.
 *
 * The data folder itself is there. `-shm` is not: SQLite makes its index anew at the first opening.
 */
type Op =
  | { kind: 'write'; inode: number; offset: number; data: Buffer }
  | { kind: 'truncate'; inode: number; size: number }
  /** Names of folders; null: the name is gone. */
  | { kind: 'names'; names: { folder: number; name: string; inode: number | null }[] }
  | { kind: 'sync'; inode: number; failed: boolean }
  /** An answer left the process: what it says is acknowledged. */
  | { kind: 'answer'; text: string }

const ROOT = 0

export const RECORDED_CALLS = [
  ...['open', 'openat', 'creat', 'close', 'close_range', 'dup', 'dup2', 'dup3', 'lseek', 'mmap', 'msync'],
  ...['write', 'pwrite64', 'writev', 'pwritev', 'pwritev2', 'ftruncate', 'truncate', 'fallocate', 'copy_file_range'],
  ...['sendfile', 'splice', 'rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'link', 'linkat', 'symlink'],
  ...['symlinkat', 'mkdir', 'mkdirat', 'rmdir', 'fsync', 'fdatasync', 'sync_file_range', 'sendto', 'sendmsg'],
  ...['io_uring_setup', 'execve'],
]

/** Files that are no part of what must last. */
const isPassing = (path: string): boolean => /-shm$|(^|\/)control\.sock$/.test(path)

const TAKES_PATHS = /^(open|creat|rename|link|unlink|rmdir|mkdir|symlink|truncate)/

/** The paths among a call's arguments, whole also where they are given from a folder's descriptor on. */
const pathsOf = (args: string): string[] =>
  [...args.matchAll(/(?:<((?:\\x[0-9a-f]{2})+)>, )?"((?:\\x[0-9a-f]{2}){1,4096})"/g)].map(([, base, path = '']) =>
    join(base === undefined || path.startsWith('\\x2f') ? '/' : textOf(base).toString(), textOf(path).toString()),
  )

interface Opened {
  inode: number
  offset: number
}

/** Reads traces of one process after the other into one list of what was done to a folder. */
export class Recorder {
  readonly ops: Op[] = []
  /** How many operations stand for what was there before anything was recorded. */
  readonly given: number
  readonly folders = new Set([ROOT])
  readonly #inodes = new Map<string, number>([['', ROOT]])
  #inodesMade = ROOT

  /** What is in the folder now counts as being there for good. */
  constructor(readonly folder: string) {
    for (const entry of readdirSync(folder)) {
      const path = join(folder, entry)
      if (isPassing(entry)) continue
      if (!statSync(path).isFile()) throw new Error(`${path} is no file`)
      const inode = this.#name(entry)
      this.ops.push({ kind: 'write', inode, offset: 0, data: readFileSync(path) })
      this.ops.push({ kind: 'sync', inode, failed: false })
    }
    this.ops.push({ kind: 'sync', inode: ROOT, failed: false })
    this.given = this.ops.length
  }

  /** Which of the recorded operations are syncs. */
  get syncs(): number[] {
    return this.ops.flatMap((op, at) => (op.kind === 'sync' && at >= this.given ? at : []))
  }

  /** How often what has that name now was synced. */
  syncsOf(name: string): number {
    const inode = this.#inodes.get(name)
    return this.syncs.filter((at) => touches(this.ops[at] as Op, inode ?? -1)).length
  }

  /** For what is acknowledged otherwise than through a socket, such as by a process that ends. */
  answer(text: string): void {
    this.ops.push({ kind: 'answer', text })
  }

  read(calls: readonly Call[]): void {
    const descriptors = new Map<number, Opened>()
    for (const call of calls) this.#take(call, descriptors)
  }

  /** The path within the folder; null: it is elsewhere, or of no matter. */
  #inside(path: string): string | null {
    const inside = relative(this.folder, path)
    return inside.startsWith('..') || isPassing(inside) ? null : inside
  }

  #take(call: Call, descriptors: Map<number, Opened>): void {
    const { name, args, texts, result } = call
    const fd = Number(/^\d+/.exec(args)?.[0] ?? -1)
    const opened = descriptors.get(fd)
    const paths = TAKES_PATHS.test(name) ? pathsOf(args).map((path) => this.#inside(path)) : []
    const [from = null, to = null] = paths
    switch (name) {
      case 'execve':
        if (result === 0) descriptors.clear()
        return
      case 'io_uring_setup':
        if (result >= 0) throw new Error('writes may go through io_uring, where they are not seen')
        return
      case 'close':
        descriptors.delete(fd)
        return
      case 'sync_file_range':
      case 'msync':
        return
      case 'sendto':
      case 'sendmsg':
        if (args.includes('UNIX') && texts.length > 0) this.answer(Buffer.concat(texts).toString())
        return
      case 'open':
      case 'openat':
      case 'creat':
        if (result < 0 || from === null) return
        descriptors.set(result, { inode: this.#open(from, /O_TRUNC/.test(args)), offset: 0 })
        return
      case 'mmap':
        if (!/MAP_SHARED/.test(args) || !/PROT_WRITE/.test(args)) return
        this.#refuseIf(this.#inside(textOf(/<((?:\\x[0-9a-f]{2})+)>/.exec(args)?.[1] ?? '').toString()) !== null, call)
        return
    }
    if (name === 'fsync' || name === 'fdatasync') {
      if (opened) this.ops.push({ kind: 'sync', inode: opened.inode, failed: result < 0 })
      return
    }
    if (result < 0) return
    if (name.startsWith('rename')) return this.#rename(from, to)
    if (name.startsWith('link')) return this.#link(from, to)
    if (name.startsWith('unlink') || name === 'rmdir') return this.#remove(from)
    if (name.startsWith('mkdir')) {
      if (from) this.folders.add(this.#name(from))
      return
    }
    if (name.startsWith('symlink') || name === 'truncate') return this.#refuseIf(from !== null || to !== null, call)
    if (!opened) return
    if (name === 'write' || name === 'writev') {
      this.#write(opened.inode, opened.offset, texts, result)
      opened.offset += result
    } else if (name === 'lseek') opened.offset = result
    else if (name === 'pwrite64') this.#write(opened.inode, Number(/, (\d+)$/.exec(args)?.[1]), texts, result)
    else if (name === 'ftruncate')
      this.ops.push({ kind: 'truncate', inode: opened.inode, size: Number(/, (\d+)$/.exec(args)?.[1]) })
    else this.#refuseIf(true, call)
  }

  #refuseIf(wrong: boolean, { name, args }: Call): void {
    if (wrong) throw new Error(`${name}(${args.slice(0, 300)}): the model of the disk does not know this`)
  }

  #write(inode: number, offset: number, texts: Buffer[], bytes: number): void {
    this.ops.push({ kind: 'write', inode, offset, data: Buffer.concat(texts).subarray(0, bytes) })
  }

  #placeOf(path: string): { folder: number; name: string } {
    const slash = path.lastIndexOf('/')
    const folder = this.#inodes.get(slash === -1 ? '' : path.slice(0, slash))
    if (folder === undefined) throw new Error(`the folder of ${path} was never made`)
    return { folder, name: path.slice(slash + 1) }
  }

  #name(path: string, inode = (this.#inodesMade += 1)): number {
    this.#inodes.set(path, inode)
    this.ops.push({ kind: 'names', names: [{ ...this.#placeOf(path), inode }] })
    return inode
  }

  #open(path: string, truncated: boolean): number {
    const known = this.#inodes.get(path)
    if (known !== undefined && truncated) this.ops.push({ kind: 'truncate', inode: known, size: 0 })
    return known ?? this.#name(path)
  }

  #rename(from: string | null, to: string | null): void {
    if (from === null && to === null) return
    const inode = from === null ? undefined : this.#inodes.get(from)
    if (from === null || to === null || inode === undefined) throw new Error(`renamed over the border: ${from} ${to}`)
    const names = [
      { ...this.#placeOf(from), inode: null },
      { ...this.#placeOf(to), inode },
    ]
    this.#inodes.delete(from)
    this.#inodes.set(to, inode)
    this.ops.push({ kind: 'names', names })
  }

  #link(from: string | null, to: string | null): void {
    const inode = from === null ? undefined : this.#inodes.get(from)
    if (inode !== undefined && to !== null) this.#name(to, inode)
  }

  #remove(path: string | null): void {
    if (path === null || !this.#inodes.has(path)) return
    const place = this.#placeOf(path)
    this.#inodes.delete(path)
    this.ops.push({ kind: 'names', names: [{ ...place, inode: null }] })
  }
}

/** A file that grows as it is written. */
class Content {
  #bytes = Buffer.alloc(4096)
  #size = 0

  write(offset: number, data: Buffer): void {
    this.resize(Math.max(this.#size, offset + data.length))
    data.copy(this.#bytes, offset)
  }

  resize(size: number): void {
    if (size > this.#bytes.length) {
      const more = Buffer.alloc(Math.max(size, this.#bytes.length * 2))
      this.#bytes.copy(more, 0, 0, this.#size)
      this.#bytes = more
    }
    this.#bytes.fill(0, Math.min(size, this.#size), Math.max(size, this.#size))
    this.#size = size
  }

  get bytes(): Buffer {
    return this.#bytes.subarray(0, this.#size)
  }
}

/** What is on the disk of all that was not synced. */
export type Kept = 'nothing' | 'all' | 'writes' | 'sectors' | 'beginning'

/** Which of the operations that no sync made last are on the disk all the same. */
class Luck {
  readonly #sector: number
  readonly #kept: Kept
  readonly #probability: number
  readonly #last: number

  constructor(
    readonly random: Random,
    pending: number,
    kept: Kept | undefined,
  ) {
    this.#sector = random.pick([512, 4096])
    this.#kept = kept ?? random.pick(['nothing', 'all', 'writes', 'sectors', 'beginning'])
    this.#probability = random.pick([0.1, 0.5, 0.9])
    this.#last = random.below(pending + 1)
  }

  get said(): string {
    const share = this.#kept === 'writes' || this.#kept === 'sectors' ? ` with p=${this.#probability}` : ''
    return `${this.#kept}${share} of what was not synced, sectors of ${this.#sector}`
  }

  /** Whether all of an operation is there; `at` counts those that no sync made last. */
  has(at: number): boolean {
    if (this.#kept === 'beginning') return at < this.#last
    return this.#kept === 'all' || (this.#kept !== 'nothing' && this.random.chance(this.#probability))
  }

  /** The pieces of a write that are there. */
  *pieces(at: number, offset: number, data: Buffer): Generator<[number, Buffer]> {
    const torn = this.#kept === 'sectors' || (this.#kept === 'beginning' && at === this.#last)
    if (!torn) {
      if (this.has(at)) yield [offset, data]
      return
    }
    for (let from = 0; from < data.length;) {
      const to = Math.min(data.length, from + this.#sector - ((offset + from) % this.#sector))
      if (this.random.chance(this.#probability)) yield [offset + from, data.subarray(from, to)]
      from = to
    }
  }
}

type Pending = { op: Op; state: 'waits' | 'lasts' | 'dropped' }

const touches = (op: Op, inode: number): boolean =>
  op.kind === 'names' ? op.names.some(({ folder }) => folder === inode) : 'inode' in op && op.inode === inode

/** Makes `into` what the disk may hold when the power goes before operation `cut`; says in words which it is. */
export const rebuild = ({ ops, folders }: Recorder, cut: number, random: Random, into: string, kept?: Kept): string => {
  const changes: Pending[] = []
  let waiting: Pending[] = []
  for (const op of ops.slice(0, cut)) {
    if (op.kind === 'answer') continue
    if (op.kind !== 'sync') {
      const change: Pending = { op, state: 'waits' }
      changes.push(change)
      waiting.push(change)
      continue
    }
    const asked = waiting.filter((change) => touches(change.op, op.inode))
    for (const change of asked) change.state = op.failed ? 'dropped' : 'lasts'
    waiting = waiting.filter(({ state }) => state === 'waits')
  }

  const unsynced = changes.filter(({ state }) => state !== 'lasts').length
  const luck = new Luck(random, unsynced, kept)
  const contents = new Map<number, Content>()
  const names = new Map<string, { folder: number; name: string; inode: number }>()
  const contentOf = (inode: number): Content => {
    const content = contents.get(inode) ?? new Content()
    contents.set(inode, content)
    return content
  }
  let at = 0
  for (const { op, state } of changes) {
    const sure = state === 'lasts'
    if (op.kind === 'write') {
      const pieces = sure ? [[op.offset, op.data] as const] : luck.pieces(at, op.offset, op.data)
      for (const [offset, data] of pieces) contentOf(op.inode).write(offset, data)
    } else if (sure || luck.has(at)) {
      if (op.kind === 'truncate') contentOf(op.inode).resize(op.size)
      if (op.kind === 'names') {
        for (const { folder, name, inode } of op.names) {
          if (inode === null) names.delete(`${folder}/${name}`)
          else names.set(`${folder}/${name}`, { folder, name, inode })
        }
      }
    }
    if (!sure) at += 1
  }
  const lay = (folder: number, path: string) => {
    for (const { name, inode } of [...names.values()].filter((entry) => entry.folder === folder)) {
      const target = join(path, name)
      if (folders.has(inode)) {
        mkdirSync(target, { mode: 0o700 })
        lay(inode, target)
      } else writeFileSync(target, contents.get(inode)?.bytes ?? '', { mode: 0o600 })
    }
  }
  lay(ROOT, into)
  return `cut before operation ${cut}, ${unsynced} not synced; ${luck.said}`
}
