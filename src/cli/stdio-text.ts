import { shellWords } from '../shell-word.ts'
import { sizeText } from '../size.ts'
import { formatDuration } from '../time.ts'
import type { ServerJson } from './answers.ts'
import { ago, clean } from './output.ts'

type StdioJson = NonNullable<ServerJson['stdio']>

/** Lines of standard error that `server show` prints; `--json` has them all. */
const LINES = 10

export const commandText = ({ command }: StdioJson): string => shellWords(command)

const sandboxText = ({ sandbox, allow, network }: StdioJson): string => {
  if (!sandbox) return 'no'
  const read = allow.filter((path) => path.endsWith(':ro'))
  const write = ['its own folder', ...allow.filter((path) => !path.endsWith(':ro'))]
  return [
    `may write to ${write.join(', ')}`,
    ...(read.length > 0 ? [`read ${read.map((path) => path.slice(0, -3)).join(', ')}`] : []),
    network ? 'has a network' : 'no network',
  ].join('; ')
}

const limitsText = ({ memoryBytes, cpuTimeMs, idleMs }: StdioJson): string =>
  [
    `${sizeText(memoryBytes)} of data a process`,
    cpuTimeMs === null ? 'any CPU time' : `${formatDuration(cpuTimeMs)} of CPU time`,
    `ends when idle for ${formatDuration(idleMs)}`,
  ].join(', ')

const processesText = ({ shared, status: { processes, startedInAll } }: StdioJson): string =>
  `${processes} running, ${startedInAll} started so far; ${shared ? 'one for all clients' : 'one a session'}`

const crashesText = ({ status: { crashes, lastCrash, retryAt } }: StdioJson): string => {
  if (lastCrash === null) return 'none'
  const next = retryAt === null ? '' : `; nothing is started before ${retryAt}`
  return `${crashes}, the last ${ago(lastCrash.at)}: ${lastCrash.detail}${next}`
}

/** What `server show` says of a command, in place of a URL. */
export const stdioFields = (stdio: StdioJson): [name: string, value: string | null][] => [
  ['Command', commandText(stdio)],
  ['Environment', Object.keys(stdio.env).join(', ') || null],
  ['User', stdio.user ?? 'the one who runs the node'],
  ['Sandbox', sandboxText(stdio)],
  ['Limits', limitsText(stdio)],
  ['Runs on', stdio.everywhere ? 'every node' : stdio.node === null ? 'this node' : `node ${stdio.node} alone`],
  ['Processes', processesText(stdio)],
  ['Crashes', crashesText(stdio)],
]

/** What it last said on its standard error. */
export const stderrText = ({ status: { stderr } }: StdioJson): string =>
  stderr.length === 0
    ? ''
    : ['', '', 'Standard error:', ...stderr.slice(-LINES).map(({ at, line }) => `  ${at}  ${clean(line)}`)].join('\n')
