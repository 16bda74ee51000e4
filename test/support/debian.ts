import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from './poll.ts'
import { removeFolder, tempFolder } from './temp.ts'

/** What a fresh Debian has beyond its smallest: enough to boot, and a second shell to try scripts in. */
const PACKAGES = ['systemd', 'systemd-sysv', 'dbus', 'busybox', 'curl', 'ca-certificates', 'iproute2', 'sudo']
const BASE = join(tmpdir(), 'portcullis-debian-bookworm-2')

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

/** What a Debian's programs are given of the test's environment: nothing. */
const ENVIRONMENT = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C' }

export interface Said {
  code: number
  stdout: string
  stderr: string
}

export interface SayOptions {
  env?: Record<string, string>
  input?: string
}

/** What runs a command in there with its own environment: that of the test is no part of it. */
const within = (enter: string[], command: string[], { env }: SayOptions): string[] => [
  ...enter,
  ...['/usr/bin/env', '-i', ...Object.entries({ ...ENVIRONMENT, ...env }).map(([name, value]) => `${name}=${value}`)],
  ...command,
]

const said = async (command: string[], input = ''): Promise<Said> => {
  const child = Bun.spawn(command, {
    stdin: Buffer.from(input),
    stdout: 'pipe',
    stderr: 'pipe',
  })
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  return { code: await child.exited, stdout, stderr }
}

export interface ChrootOptions extends SayOptions {
  /** The id of a user, in place of root. */
  uid?: number
  /** What /proc/cpuinfo says there. */
  cpuinfo?: string
}

/** Runs a command in a Debian that is not booted, with a /proc and processes of its own, which end with it. */
export const inChroot = (root: string, command: string[], options: ChrootOptions = {}): Promise<Said> => {
  const { uid = 0, cpuinfo } = options
  const faked = join(root, '../cpuinfo')
  if (cpuinfo !== undefined) writeFileSync(faked, cpuinfo)
  const mount = `mount -t proc proc '${root}/proc'${cpuinfo === undefined ? '' : `; mount --bind '${faked}' '${root}/proc/cpuinfo'`}`
  const isolated = ['unshare', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-ec', `${mount}; exec "$@"`, 'sh']
  return said(within([...isolated, 'chroot', `--userspec=${uid}:${uid}`, root], command, options), options.input)
}

/** The tree of control groups that systemd needs; each machine gets a branch, else two would share their services. */
const controlGroups = (): string => {
  const mounted = /^\S+ (\S+) cgroup2 /m.exec(readFileSync('/proc/mounts', 'utf8'))?.[1]
  if (mounted === undefined) throw new Error('no cgroup2 is mounted here')
  return mounted
}

const childOf = (pid: number): number | null => {
  const [first] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
  return first ? Number(first) : null
}

export interface BootOptions {
  /** A folder of this machine that is seen there under the same path. */
  share?: string
  /** One that was switched off; without it a fresh one. */
  debian?: Awaited<ReturnType<typeof freshDebian>>
}

/** Boots a Debian, with systemd as its first process and a network of its own, of which there is only `lo`. */
export const bootedDebian = async ({ share, debian: given }: BootOptions = {}) => {
  const debian = given ?? (await freshDebian())
  const { root } = debian
  const group = join(controlGroups(), `portcullis-test-${process.pid}-${crypto.randomUUID()}`)
  mkdirSync(group)
  // nspawn leaves its traces under /run, and gives what is mounted there back to the machine.
  const boot = `
    echo $$ > ${group}/cgroup.procs
    mount -t tmpfs tmpfs /run
    mkdir -p /run/systemd
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    exec systemd-nspawn -D ${root} --register=no --keep-unit --private-network ${share ? `--bind=${share}` : ''} --boot`
  // Whatever happens to this process: when it dies, `unshare` does, and with it all that runs in there.
  const child = Bun.spawn(
    [
      ...['setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--propagation', 'slave'],
      ...['--pid', '--fork', '--mount-proc', '--kill-child', 'sh', '-ec', boot],
    ],
    { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' },
  )
  const switchOff = async () => {
    child.kill('SIGKILL')
    await child.exited
    const removeGroups = async () =>
      (await Bun.$`find ${group} -depth -type d -delete`.nothrow().quiet()).exitCode === 0
    await eventually(removeGroups, { everyMs: 20, what: `nothing runs in ${group}` })
  }
  const stop = async () => {
    await switchOff()
    await debian[Symbol.asyncDispose]()
  }
  const first = await eventually(
    async () => {
      const nspawn = childOf(child.pid)
      const pid = nspawn && childOf(nspawn)
      if (!pid) return null
      const { stdout } = await said(['nsenter', '-t', String(pid), '-a', 'systemctl', 'is-system-running'])
      return /running|degraded/.test(stdout) ? pid : null
    },
    { timeoutMs: 20_000, everyMs: 100, what: 'systemd runs' },
  ).catch(async (error: unknown) => {
    await stop()
    throw error
  })

  const enter = ['nsenter', '-t', String(first), '-a']
  const run = (command: string[], options: SayOptions = {}) => said(within(enter, command, options), options.input)
  return {
    root,
    /** Runs a command in there as root. */
    run,
    /** What a command that must not fail printed. */
    async read(...command: string[]): Promise<string> {
      const { code, stdout, stderr } = await run(command)
      if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}\n${stdout}\n${stderr}`)
      return stdout.trim()
    },
    /** Runs what comes after it in there. */
    enter,
    /** Runs what comes after it, a program of this machine, in the network of that one. */
    network: ['nsenter', '-t', String(first), '-n'],
    /** As if the power failed. What is on its disk stays: `bootedDebian({ debian })` boots it again. */
    async switchOff() {
      await switchOff()
      return debian
    },
    [Symbol.asyncDispose]: stop,
  }
}

export type Machine = Awaited<ReturnType<typeof bootedDebian>>
