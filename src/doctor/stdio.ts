import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { type Finding, finding } from '../finding.ts'
import { clusterOf } from './control.ts'
import { lookAt, quoted, seen } from './path.ts'
import { type Process, processOf } from './process.ts'
import { programOf } from './program.ts'
import type { StdioRecord } from './records.ts'
import type { Subject } from './subject.ts'
import { groupTasksMax } from './tasks.ts'
import { type Account, accountNamed, asRoot, ownUid, userName } from './user.ts'

const CHECK = 'stdio servers'
/** A server by npx is three processes, of which two are Node with a dozen threads each. */
const TASKS_PER_PROCESS = 25
/** Its standard input, output and error, at the node's end. */
const FILES_PER_PROCESS = 3
/** Where a service has it, unless its unit says otherwise. */
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** What a sandbox lays an empty folder over. */
const HIDDEN = ['/home', '/root', '/tmp', '/var/tmp', '/run']

interface Target extends StdioRecord {
  /** The variable PATH is its own, and not told to us. */
  hasPath: boolean
  /** Why the node can't use it; null: it can, or has not looked. */
  trouble: string | null
}

/** Who runs the node, and from where it runs commands. */
interface Runner {
  uid: number
  path: string
  /** The running node, or who starts it from here. */
  process: Process | null
  pid: number | 'self'
}

const isOwn = async ({ files, deps, said }: Subject) => {
  const somewhere = said?.servers.some(({ stdio }) => stdio !== null && stdio?.node !== null) ?? false
  const cluster = somewhere ? await clusterOf(files.socket, deps.limits.doctorAnswerMs) : null
  return (node: string | null): boolean => node === null || !cluster?.clustered || cluster.node.name === node
}

/** The open servers that are commands and run here. */
const targetsOf = async (subject: Subject): Promise<Target[]> => {
  const { said, records } = subject
  if (!said)
    return (records.kind === 'known' ? records.commands : []).map((one) => ({ ...one, hasPath: false, trouble: null }))
  const own = await isOwn(subject)
  return said.servers.flatMap(({ name, state, stdio, health }) => {
    // A node of 0.6.0 says nothing of commands.
    if (!stdio || state !== 'open' || !own(stdio.node)) return []
    const trouble = stdio.status.problem ?? (health.reachable === false ? health.detail : null)
    return [{ ...stdio, name, hasPath: 'PATH' in stdio.env, trouble }]
  })
}

const runnerOf = ({ node, uid }: Subject): Runner => {
  const pid = node?.pid ?? 'self'
  const process = processOf(pid)
  return {
    pid,
    process,
    uid: (node ? process?.uid : null) ?? uid ?? ownUid(),
    path: process?.path || (node ? PATH : (processOf('self')?.path ?? PATH)),
  }
}

const isBelow = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`)

/** Whether the sandbox of a server shows a file. */
const isShown = (file: string, { allow }: Target, folder: string): boolean => {
  // What this user may not see stands where it says.
  const path = typeof seen(file) === 'string' ? file : realpathSync(file)
  if (allow.some((text) => isBelow(path, text.replace(/:ro$/, '')))) return true
  return ![...HIDDEN, folder].some((hidden) => isBelow(path, hidden))
}

/** What `bwrap` says when it can't do here what the sandbox needs; null: it can. */
const sandboxTrouble = async (bwrap: string, account: Account | null, timeoutMs: number): Promise<string | null> => {
  const becomes = ownUid() === 0 && account !== null && account.uid !== 0
  const child = Bun.spawn([bwrap, '--unshare-pid', '--ro-bind', '/', '/', '--proc', '/proc', 'true'], {
    ...{ stdin: 'ignore', stdout: 'ignore', stderr: 'pipe', cwd: '/', env: {}, timeout: timeoutMs },
    ...(becomes && { uid: account.uid, gid: account.gid }),
  })
  const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited])
  return code === 0 ? null : said.trim().split('\n', 1)[0] || `it exits with code ${code}`
}

/** What is wrong with one server's user; the account that runs it where nothing is. */
const runsAs = ({ user }: Target, { uid }: Runner): { account: Account | null } | { why: string; todo: string } => {
  if (user === null) return { account: accountNamed(String(uid)) }
  const account = accountNamed(user)
  if (!account)
    return { why: `there is no user ${user} here`, todo: asRoot(`useradd --system --create-home ${quoted(user)}`) }
  if (uid === 0 || uid === account.uid) return { account }
  const todo = `run the node as root, or add the server without --user`
  return { why: `the node runs as ${userName(uid)}, and only root may run commands as ${user}`, todo }
}

const lookAtCommand = async (target: Target, subject: Subject, runner: Runner): Promise<Finding | null> => {
  const { name, command, sandbox, hasPath, trouble } = target
  const { folder, deps } = subject
  const [word = ''] = command
  const say = (text: string, todo: string, level: Finding['level'] = 'fail') =>
    finding(CHECK, level, `${name}: ${text}`, todo)
  const who = runsAs(target, runner)
  if ('why' in who) return say(who.why, who.todo)
  const uid = who.account?.uid ?? runner.uid
  const program = hasPath && !word.includes('/') ? null : programOf(word, runner.path, uid)
  if (program && 'why' in program) {
    const todo = `install it where ${userName(uid)} may run it, or give its whole path: portcullis server show ${name}`
    return say(program.why, todo)
  }
  if (sandbox) {
    const bwrap = programOf('bwrap', runner.path, uid)
    if ('why' in bwrap) return say(`its sandbox needs bubblewrap: ${bwrap.why}`, asRoot('apt install bubblewrap'))
    const said = await sandboxTrouble(bwrap.found, who.account, deps.limits.doctorAnswerMs)
    if (said !== null)
      return say(`its sandbox can't be made: ${said}`, 'let its user make namespaces: docs/stdio.md, "The sandbox"')
    if (program && !isShown(program.found, target, folder))
      return say(`${program.found} is out of sight in its sandbox`, `allow it: --allow ${quoted(program.found)}:ro`)
  }
  // What the node itself met comes last: the above says more, where it is the reason.
  if (trouble === null) return null
  const unit =
    sandbox && trouble.includes('bwrap') ? '; what the unit of systemd must let it do is in docs/stdio.md' : ''
  return say(trouble, `see what it said: portcullis server show ${name}${unit}`, 'warn')
}

/** Limits are set by a shell, so that without one nothing can be started. */
const shell = (): Finding[] => {
  const at = lookAt('/bin/sh')
  if (typeof at === 'object' && (at.mode & 0o111) !== 0) return []
  const todo = 'run the node where there is one; docs/stdio.md has an image for containers'
  return [finding(CHECK, 'fail', 'there is no /bin/sh here, and commands are started through it', todo)]
}

/** The first process of a container inherits what others leave behind, and a node does not know of those. */
const firstProcess = ({ node }: Subject): Finding[] => {
  if (node?.pid !== 1) return []
  const text = 'the node is process 1 of its container: what commands leave behind stays there as zombies'
  return [finding(CHECK, 'warn', text, 'start the container with an init: docker run --init, or init: true in Compose')]
}

/** The folder of their folders: made by the first that is started. */
const workingFolder = ({ folder, closed, uid }: Subject): Finding[] => {
  const path = join(folder, 'stdio')
  if (closed) return []
  const at = lookAt(path)
  if (at === 'absent' || at === 'hidden') return []
  const say = (why: string, todo: string) => [finding(CHECK, 'fail', `${path} ${why}`, todo)]
  if (!at.isDirectory()) return say('is not a folder: commands run in folders below it', `move it away`)
  if (uid !== null && at.uid !== uid)
    return say(
      `is ${userName(at.uid)}'s, and the data folder ${userName(uid)}'s`,
      asRoot(`chown ${uid} ${quoted(path)}`),
    )
  return []
}

/** Whether as many processes as the node allows fit into what the system allows. */
const room = ({ settings, deps }: Subject, { process, pid, uid }: Runner): Finding[] => {
  const wanted = settings?.stdioProcessesMax ?? deps.limits.stdioProcessesMax
  const open = process ? Math.max(process.openFiles.soft, process.openFiles.hard) : Infinity
  // Root's are not counted.
  const tasks = process && uid !== 0 ? process.userTasksMax : Infinity
  const fits: [count: number, limit: string, setting: string][] = [
    [groupTasksMax(pid) / TASKS_PER_PROCESS, 'pids.max of its control group', 'TasksMax=infinity'],
    [tasks / TASKS_PER_PROCESS, 'processes of its user', 'LimitNPROC=infinity'],
    // The other half is for connections.
    [open / 2 / FILES_PER_PROCESS, 'open files', 'LimitNOFILE=65536'],
  ]
  return fits.flatMap(([room, limit, setting]) => {
    const count = Math.max(1, Math.floor(room))
    if (count >= wanted) return []
    const text = `there is room for about ${count} of the ${wanted} processes that the node may start (${limit})`
    return [finding(CHECK, 'warn', text, `raise it: ${setting} in the unit; or --stdio-processes ${count}`)]
  })
}

/** What the servers that are commands need of this machine: a shell, their programs, users, sandboxes, and room. */
export const stdioServers = async (subject: Subject): Promise<Finding[]> => {
  const targets = await targetsOf(subject)
  if (targets.length === 0) return []
  const { doctorFindingsMax } = subject.deps.limits
  const runner = runnerOf(subject)
  const found = [...shell(), ...firstProcess(subject), ...workingFolder(subject), ...room(subject, runner)]
  for (const target of targets) {
    const wrong = await lookAtCommand(target, subject, runner)
    if (wrong) found.push(wrong)
  }
  if (found.length === 0) {
    const count = targets.length === 1 ? 'one, with' : `all ${targets.length} have`
    return [finding(CHECK, 'ok', `${count} what ${targets.length === 1 ? 'it needs' : 'they need'}`)]
  }
  const more = found.length - doctorFindingsMax
  if (more <= 0) return found
  return [
    ...found.slice(0, doctorFindingsMax),
    finding(CHECK, 'warn', `and ${more} more`, 'run doctor again after these'),
  ]
}
