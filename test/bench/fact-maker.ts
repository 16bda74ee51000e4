import { openNode } from '../support/replicated.ts'
import { answerCalls } from './child.ts'

/** Tokens of a node that does not run, each issued as ever, with its fact; in one transaction, so that it takes seconds. */
const make = ({ folder, tokens }: { folder: string; tokens: number }): number => {
  const node = openNode(folder, () => Date.now())
  const [server] = [...node.servers.byName.keys()]
  if (!server) throw new Error('the folder has no server')
  const actor = { name: 'local:0', role: 'owner' } as const
  const given = { servers: [server], subject: null, group: null, expiresAt: null }
  node.store.client.transaction(() => {
    for (let at = 0; at < tokens; at += 1) node.issuance.issue({ ...given, name: `away ${at} ${crypto.randomUUID()}` }, actor)
  })()
  node.close()
  return tokens
}

answerCalls({ make })
