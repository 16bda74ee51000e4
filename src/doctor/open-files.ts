import { type Finding, finding } from '../finding.ts'
import { connectionsFor } from '../limits.ts'
import { processOf } from './process.ts'
import type { Subject } from './subject.ts'

/** How many connections the limit of open files allows: the node's own where it runs, else this shell's. */
export const openFiles = ({ node, deps }: Subject): Finding[] => {
  const found = processOf(node ? (node.pid ?? 0) : 'self')
  // The runtime raises the soft limit to the hard one itself when it starts.
  const open = found && Math.max(found.openFiles.soft, found.openFiles.hard)
  const connections = node?.connectionsMax ?? (open === null ? null : connectionsFor(open))
  if (connections === null) return []
  const whose = node ? 'the node' : 'a node started here'
  const files = open === null ? '' : ` for ${open} open files`
  const text = `${whose} has room${files}: ${connections} connections at once`
  if (connections >= deps.limits.connectionsWarnMax) return [finding('open files', 'ok', text)]
  const todo =
    'raise it: LimitNOFILE=65536 in the unit of systemd, `ulimit -n 65536` in a shell, `--ulimit nofile=65536` in Docker'
  return [finding('open files', 'warn', text, todo)]
}
