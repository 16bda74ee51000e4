import { type Finding, finding } from '../finding.ts'
import { clusterOf } from './control.ts'
import type { Subject } from './subject.ts'

const named = (nodes: readonly { name: string; url: string }[]): string =>
  nodes.map(({ name, url }) => `${name} (${url})`).join(', ')

/** Whether the node reaches the others of its cluster, and what was revoked holds on all of them. */
export const cluster = async ({ node, files, deps }: Subject): Promise<Finding[]> => {
  const said = node && (await clusterOf(files.socket, deps.limits.doctorAnswerMs))
  if (!said?.clustered) return []
  const { members, isolated, policy, serving, reason, incompleteCount, void: gone } = said
  const found: Finding[] = []
  const say = (level: Finding['level'], text: string, todo: string) => found.push(finding('cluster', level, text, todo))
  const away = members.filter(({ state }) => state === 'unreachable')
  const reach = 'look whether they run, and whether this machine may connect to them; `portcullis cluster status`'
  if (!serving && reason === 'not_synced')
    say('fail', 'it lets nobody in: it does not know yet what the others know', reach)
  if (isolated) {
    const so = policy === 'lease' ? 'it lets nobody in once its lease has run out' : 'it hears of no revocation'
    say('fail', `no majority of the members can be reached: ${so}`, reach)
  }
  if (away.length > 0) {
    const todo = `${reach}; gone for good: portcullis cluster remove ${away[0]?.name}`
    say('warn', `can't be reached: ${named(away)}`, todo)
  }
  if (incompleteCount > 0) {
    const todo = '`portcullis cluster status` says whom each waits for'
    const revocations = incompleteCount === 1 ? '1 revocation is' : `${incompleteCount} revocations are`
    say('warn', `${revocations} not known to hold on all nodes`, todo)
  }
  if (gone.length > 0) {
    const todo = `switch it off, then: portcullis cluster remove ${gone[0]?.name} --off`
    say('warn', `removed by force, and not known to be off: ${named(gone)}`, todo)
  }
  return found.length > 0 ? found : [finding('cluster', 'ok', `${members.length} members, all linked`)]
}
