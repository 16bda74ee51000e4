import { openNode } from '../support/replicated.ts'
import { answerCalls } from './child.ts'

/** Tokens of a node that does not run, each issued as ever, with its fact; in one transaction, so that it takes seconds. */
const make = ({ folder, tokens }: { folder: string; tokens: number }): number => {
  const node = openNode(folder, () => Date.now())
  const [server] = [...node.servers.byId.keys()]
  if (!server) throw new Error('the folder has no server')
  node.store.client.transaction(() => {
    for (let at = 0; at < tokens; at += 1) node.issue(`away ${at}`, { servers: [server], group: `team ${at % 41}` })
  })()
  node.close()
  return tokens
}

answerCalls({ make })
