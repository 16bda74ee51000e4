import { cpSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { filesOf } from '../../src/store/folder.ts'
import { type DiskFault, faultUnder, faultyFrom } from '../support/disk-fault.ts'
import { mayMount, smallFolder } from '../support/full-disk.ts'
import { eventually } from '../support/poll.ts'
import { type Random, randomOf } from '../support/random.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'
import { type Answered, BINARY, type Deed, DEEDS, Subject } from './disk-subject.ts'
import type { Size } from './fault.ts'

/** A series ends with the first call that is not there; it never should be this long. */
export const CALLS_MAX = 400

type Error = DiskFault['error']
/** One after the other on one node. `check` is told the number of the call, and says whether the fault hit anything. */
export interface Series {
  name: string
  steps: (at: number) => number
  check: (at: number) => Promise<boolean>
  end?: () => Promise<void>
}

export interface Context {
  upstream: string
  size: Size
  count: (what: string, more?: number) => void
}

const fresh = async ({ upstream }: Context): Promise<Subject> => {
  const subject = new Subject(tempFolder(), upstream)
  await subject.start()
  await subject.addServer()
  return subject
}

/** In the short form not each call, but the first ones, and some later. */
const stepsOf =
  ({ size }: Context, random: Random) =>
  (at: number) =>
    size === 'long' || at < 2 ? at + 1 : at + 2 + random.below(7)

/** There are few syncs: each is tried with and without a kill, of the writes every other one. */
const pointOf = (calls: string, at: number) => ({
  call: calls === 'pwrite64' ? at : Math.ceil(at / 2),
  killed: at % 2 === 0,
})

const countAnswer = ({ count }: Context, { durable, lostOnRestart }: Answered): void =>
  count(durable ? 'answers: durable' : lostOnRestart ? 'answers: 507, lost on restart' : 'answers: 507, in the journal')

/** The disk fails under a change: then it is mended, or the process is killed and started on a disk that is well. */
const underChange = async (
  context: Context,
  random: Random,
  deed: Deed,
  where: 'database' | 'both',
  calls: string,
  error: Error,
  lasting: boolean,
): Promise<Series> => {
  const subject = await fresh(context)
  return {
    name: `${deed}, ${error} ${lasting ? 'from' : 'at'} ${calls} of ${where}`,
    steps: stepsOf(context, random),
    async check(at) {
      const { id, secret, stream } = await subject.openStream()
      const { call, killed } = pointOf(calls, at)
      const fault = { paths: subject.paths[where], calls, error, when: `${call}${lasting ? '+' : ''}` }
      const disk = await faultUnder(subject.node.pid, [fault])
      try {
        const answered = await subject.actOn(deed, id, secret, stream)
        countAnswer(context, answered)
        if (lasting && !answered.durable) await subject.expectTold(answered)
        if (killed) await subject.kill()
        else if (lasting) await disk.mend()
        if (killed) await subject.start()
        await subject.expectAll(killed)
        await disk.mend()
        if (deed === 'close' && !(killed && answered.lostOnRestart)) await subject.expectClosed()
      } finally {
        await disk.mend()
      }
      return disk.hits() > 0
    },
    end: () => subject.kill(),
  }
}

/** What the journal kept goes to the database, and the disk fails on the way. */
const underFlush = async (context: Context, random: Random, calls: string, error: Error): Promise<Series> => {
  const subject = await fresh(context)
  return {
    name: `flush, ${error} at ${calls}`,
    steps: stepsOf(context, random),
    async check(at) {
      const streams = [await subject.openStream(), await subject.openStream()]
      const held = subject.holdDatabase()
      try {
        for (const { id, secret, stream } of streams)
          countAnswer(context, await subject.actOn('revoke', id, secret, stream))
      } finally {
        held.release()
      }
      const { call, killed } = pointOf(calls, at)
      const disk = await faultUnder(subject.node.pid, [{ paths: subject.paths.both, calls, error, when: String(call) }])
      try {
        if (killed) {
          // By then the fault has come, unless no call has that number.
          await eventually(async () => disk.hits() > 0 || (await subject.readyz()).status === 200, {
            timeoutMs: 15_000,
            everyMs: 20,
          })
          await subject.kill()
          await subject.start()
        }
        await subject.expectAll(killed)
      } finally {
        await disk.mend()
      }
      return disk.hits() > 0
    },
    end: () => subject.kill(),
  }
}

/** The database refuses and the journal once: it is told, and a moment later the journal has it. */
const journalLater = async (context: Context, error: Error): Promise<Series> => {
  const subject = await fresh(context)
  return {
    name: `revoke, ${error} from fsync of the database and at fdatasync of the journal`,
    steps: (at) => (at < 3 ? at + 1 : CALLS_MAX),
    async check() {
      const { id, secret, stream } = await subject.openStream()
      const { database, journal } = subject.paths
      const paths = [...database, ...journal]
      const disk = await faultUnder(subject.node.pid, [
        { paths, calls: 'fsync', error, when: '1+' },
        { paths, calls: 'fdatasync', error, when: '1' },
      ])
      try {
        const answered = await subject.actOn('revoke', id, secret, stream)
        countAnswer(context, answered)
        if (!answered.lostOnRestart) throw new Error(`the journal failed, and the answer does not say so`)
        await eventually(async () => {
          const { json } = await subject.node.api<Answered>('GET', `/revocations/${answered.id}`)
          return !json.durable && json.lostOnRestart === undefined
        })
        // From here on a restart does not undo it.
        await subject.kill()
        await subject.start()
        await subject.expectAll(false)
      } finally {
        await disk.mend()
      }
      return true
    },
    end: () => subject.kill(),
  }
}

/** The commit that seals credentials under a new key fails, and may be found after a crash all the same. */
const underKeyRotation = async (context: Context, calls: string, error: Error): Promise<Series> => {
  return {
    name: `key rotate, ${error} from ${calls} of the database`,
    steps: (at) => at + 1,
    async check(at) {
      // Each with a ring of its own: there is room for few keys in one.
      const subject = await fresh(context)
      await subject.node.addServer('sealed', context.upstream, { headers: { 'X-Key': 'sealed' } })
      const { secret } = await subject.openStream()
      const { call, killed } = pointOf(calls, at)
      const paths = subject.paths.database
      const disk = await faultUnder(subject.node.pid, [{ paths, calls, error, when: `${call}+` }])
      try {
        const { status, json } = await subject.node.api('POST', '/keys')
        if (![201, 507].includes(status)) throw new Error(`answered ${status}: ${JSON.stringify(json)}`)
        if (killed) await subject.kill()
        await disk.mend()
        if (killed) await subject.start()
        await subject.expectAll(killed)
        const passes = await subject.statusOf(secret)
        if (passes !== 200) throw new Error(`a live token gets ${passes}`)
      } finally {
        await disk.mend()
        await subject.kill()
      }
      return disk.hits() > 0
    },
  }
}

/** A folder left by kill -9, with changes in its -wal and in its journal. */
const leftFolder = async (context: Context): Promise<Subject> => {
  const subject = await fresh(context)
  await subject.act('revoke')
  const token = await subject.openStream()
  const shut = await subject.openStream()
  const held = subject.holdDatabase()
  await subject.actOn('revoke', token.id, token.secret, token.stream)
  await subject.actOn('close', shut.id, shut.secret, shut.stream)
  await subject.kill()
  held.release()
  return subject
}

const STARTING =
  /^\s*(?:Gate |Console |Keys |Setup |\{"level"|.*(?:portcullis\.|disk|database|I\/O|EIO|ENOSPC|key|can't))/

/** The disk fails under a start: it starts and holds, or says why not; the next start holds in any case. */
const underStart = async (
  context: Context,
  random: Random,
  from: 'left' | 'empty',
  calls: string,
  error: Error,
  lasting: boolean,
): Promise<Series> => {
  const left = from === 'left' ? await leftFolder(context) : null
  return {
    name: `start in ${from === 'left' ? 'a folder with a journal' : 'an empty folder'}, ${error} ${lasting ? 'from' : 'at'} ${calls}`,
    steps: stepsOf(context, random),
    async check(at) {
      const data = tempFolder()
      if (left) cpSync(left.data, data, { recursive: true, filter: (path) => !path.endsWith('.sock') })
      const subject = left ? left.on(data) : new Subject(data, context.upstream)
      const { database, key, journal, lock } = filesOf(data)
      const files = [
        database,
        `${database}-wal`,
        `${database}-shm`,
        `${database}-journal`,
        key,
        `${key}.tmp`,
        journal,
        lock,
      ]
      const disk = faultyFrom([{ paths: [data, ...files], calls, error, when: `${at}${lasting ? '+' : ''}` }])
      try {
        await subject.start([...disk.command, ...BINARY])
      } catch (failure) {
        const said = String(failure)
          .split('\n')
          .filter((line) => line !== '')
        const [first = '', ...rest] = said
        context.count('starts that were refused')
        // One line for people, from a process that ended by itself.
        if (!/did not start \([12]\)/.test(first) || !rest.every((line) => STARTING.test(line)))
          throw new Error(`the start failed badly: ${said.join(' ⏎ ')}`)
      }
      try {
        if (subject.running) {
          context.count('starts that went on')
          await subject.expectDead()
          // Its Workers are threads, and each may meet the fault anew: the audit log is read on a disk that is well.
          if (!lasting) await subject.isReady()
          await subject.kill()
        }
        const hit = disk.hits() > 0
        await subject.start()
        if (left) {
          await subject.expectAll(false)
          await subject.expectClosed()
        } else await subject.addServer()
        await subject.act('revoke')
        await subject.expectAll(false)
        return hit
      } finally {
        await subject.kill()
        removeFolder(data)
      }
    },
  }
}

/** How large the -wal is when SQLite moves it to the database: 1,000 pages with their heads. */
const LOG_BYTES = 1_000 * (4_096 + 24)

/** A folder whose -wal is about to be moved to the database. */
const fullLog = async (context: Context): Promise<Subject> => {
  const subject = await fresh(context)
  const log = `${filesOf(subject.data).database}-wal`
  while (statSync(log).size < LOG_BYTES - 60 * 4_120) await subject.act('revoke')
  await subject.kill()
  return subject
}

/** The disk fails while the log is moved to the database, after the commit of a revocation. */
const underCheckpoint = async (context: Context, random: Random, calls: string, error: Error): Promise<Series> => {
  const full = await fullLog(context)
  return {
    name: `checkpoint, ${error} from ${calls}`,
    steps: (at) => at + 1 + (calls === 'fsync' ? 0 : random.below(context.size === 'long' ? 12 : 40)),
    async check(at) {
      const data = tempFolder()
      cpSync(full.data, data, { recursive: true, filter: (path) => !path.endsWith('.sock') })
      const subject = full.on(data)
      await subject.start()
      // In the database itself only a checkpoint writes.
      const paths = [filesOf(data).database]
      const disk = await faultUnder(subject.node.pid, [{ paths, calls, error, when: `${at}+` }])
      try {
        for (let made = 0; made < 8; made += 1) countAnswer(context, await subject.act('revoke'))
        const hit = disk.hits() > 0
        if (at % 2 === 0) {
          await subject.kill()
          await subject.start()
        } else await disk.mend()
        await subject.act('revoke')
        await subject.expectAll(at % 2 === 0)
        return hit
      } finally {
        await disk.mend()
        await subject.kill()
        removeFolder(data)
      }
    },
  }
}

/** A file system that is full but for some pages: a commit fails in the middle of its log. */
const reallyFull = async (context: Context, random: Random): Promise<Series> => ({
  name: 'a full tmpfs, with so many pages left',
  steps: (at) => (at >= 24 ? CALLS_MAX : at + (context.size === 'long' ? 1 : 4 + random.below(8))),
  async check(at) {
    const disk = await smallFolder('6m')
    const subject = new Subject(disk.data, context.upstream)
    await subject.start()
    try {
      await subject.addServer()
      const streams = [await subject.openStream(), await subject.openStream(), await subject.openStream()]
      disk.fill()
      const first = join(disk.data, 'fill-1')
      truncateSync(first, statSync(first).size - (at - 1) * 4_096)
      for (const { id, secret, stream } of streams) {
        const answered = await subject.actOn('revoke', id, secret, stream)
        countAnswer(context, answered)
        if (!answered.durable) await subject.expectTold(answered)
      }
      if (at % 2 === 0) {
        await subject.kill()
        await subject.start()
        await subject.expectDead()
      }
      disk.free()
      await subject.expectAll(at % 2 === 0)
    } finally {
      await subject.kill()
      await disk[Symbol.asyncDispose]()
    }
    return true
  },
})

const ERRORS = ['EIO', 'ENOSPC'] as const
const WRITES = ['pwrite64', 'fsync'] as const
const STARTS = ['openat', 'pwrite64', 'write', 'fsync,fdatasync', 'ftruncate,rename,unlink'] as const

export type Make = () => Promise<Series>

/** Those that found something once are in the short form too, of all others some. */
export const seriesOf = (context: Context, seed: number): Make[] => {
  const [always, others]: [Make[], Make[]] = [[], []]
  // Each has random numbers of its own: they run beside each other, in no order.
  const add = (list: Make[], make: (random: Random) => Promise<Series>) => {
    const own = randomOf(seed, 1 + always.length + others.length)
    list.push(() => make(own))
  }
  for (const error of ERRORS) {
    for (const calls of WRITES) {
      for (const lasting of [false, true]) {
        for (const deed of DEEDS) {
          const list = calls === 'fsync' && error === 'EIO' && !lasting ? always : others
          add(list, (random) => underChange(context, random, deed, 'database', calls, error, lasting))
        }
      }
      add(others, (random) => underChange(context, random, 'revoke', 'both', calls, error, true))
      add(others, (random) => underCheckpoint(context, random, calls, error))
      add(others, () => underKeyRotation(context, calls, error))
    }
    for (const calls of ['pwrite64', 'fsync', 'fdatasync']) {
      const list = calls === 'fdatasync' && error === 'EIO' ? always : others
      add(list, (random) => underFlush(context, random, calls, error))
    }
    add(others, (random) => underChange(context, random, 'close', 'both', 'pwrite64,fsync,fdatasync', error, true))
    for (const calls of STARTS)
      for (const from of ['left', 'empty'] as const)
        for (const lasting of [false, true])
          add(others, (random) => underStart(context, random, from, calls, error, lasting))
  }
  add(always, () => journalLater(context, 'EIO'))
  add(always, () => underKeyRotation(context, 'fsync', 'EIO'))
  if (mayMount()) add(always, (random) => reallyFull(context, random))
  const random = randomOf(seed, 0)
  return [...always, ...others.filter(() => context.size === 'long' || random.chance(0.1))]
}
