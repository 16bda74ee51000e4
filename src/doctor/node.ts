import { SERVICE_DATA } from '../config.ts'
import { type Finding, finding } from '../finding.ts'
import type { Subject } from './subject.ts'

/** Whether the running node is of this executable's version: an upgrade takes effect with a restart. */
export const version = ({ deps, node }: Subject): Finding[] => {
  const text = `portcullis ${deps.version}`
  if (!node) return [finding('version', 'ok', text)]
  if (node.version === deps.version) return [finding('version', 'ok', `${text}, the running node too`)]
  const differs = `this is ${text}, the running node is ${node.version}`
  return [
    finding('version', 'warn', differs, 'restart the node: systemctl restart portcullis, or stop it and start it'),
  ]
}

/** Whether a node runs on the folder, and is ready. */
export const node = ({ socket, deps, folder, files }: Subject): Finding[] => {
  const say = (level: Finding['level'], text: string, todo = '') => [finding('node', level, text, todo)]
  switch (socket.kind) {
    case 'absent':
      return say(
        'ok',
        `none runs on this folder${folder === SERVICE_DATA ? '' : '; start one with `portcullis serve`'}`,
      )
    case 'left':
      return say('ok', 'none runs; control.sock is left from one that was killed, and the next start replaces it')
    case 'denied':
      return say('fail', `you may not use ${files.socket}`, deps.sudo(folder))
    case 'silent':
      return say(
        'fail',
        `something listens on ${files.socket}, and does not answer as a node`,
        'look at its log (journalctl -u portcullis -e), then restart it',
      )
    case 'answered':
      if (socket.node.ready) return say('ok', `${socket.node.node} runs and is ready`)
      return socket.node.problems.flatMap((problem) =>
        say(
          'fail',
          `is not ready: ${problem}`,
          'see the findings below, and `portcullis selftest`; it tries again by itself',
        ),
      )
  }
}
