import { type Finding, finding } from '../finding.ts'
import { answerOf } from './command.ts'
import type { Subject } from './subject.ts'
import { asRoot } from './user.ts'

const PROPERTIES = 'LoadState,ActiveState,UnitFileState,ExecStart,Environment,StateDirectory'

/** Whether systemd starts the node again after a boot or a crash, where it is systemd that runs it. */
export const service = async ({ deps, folder, node }: Subject): Promise<Finding[]> => {
  const text = await answerOf(['systemctl', 'show', 'portcullis', '-p', PROPERTIES], deps.limits.doctorAnswerMs)
  if (text === null) return []
  const said = new Map(text.split('\n').map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]))
  // A unit for another folder says nothing of this one.
  const isOurs = text.includes(folder) || folder === `/var/lib/${said.get('StateDirectory')}`
  if (said.get('LoadState') !== 'loaded' || !isOurs) return []
  const [active, enabled] = [said.get('ActiveState'), said.get('UnitFileState')]
  const state = `portcullis.service is ${active}, ${enabled}`
  if (active === 'failed')
    return [
      finding('service', 'fail', state, `see why: ${asRoot('journalctl -u portcullis -n 20')}; then start it again`),
    ]
  if (enabled === 'disabled')
    return [finding('service', 'warn', `${state}: a boot does not start it`, asRoot('systemctl enable portcullis'))]
  if (active !== 'active' && !node) return [finding('service', 'warn', state, asRoot('systemctl start portcullis'))]
  return [finding('service', 'ok', state)]
}
