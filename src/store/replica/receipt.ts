import type { RevocationRecord } from '../../revocation-record.ts'
import type { Store } from '../open.ts'
import type { Handlers } from './handler.ts'

type Dead = RevocationRecord['tokens']

/** What the founder's receipts list: who died of a revocation that was made before there was a cluster. */
export const receiptHandlers = ({ client }: Pick<Store, 'client'>): Handlers => {
  const find = client.query<{ tokens: string }, [string]>('SELECT tokens FROM revocations WHERE id = ?')
  const put = client.query<never, [string, string]>('UPDATE revocations SET tokens = ? WHERE id = ?')
  return {
    'revocation.dead': {
      write({ payload }) {
        const { id, tokens } = payload as { id: string; tokens: Dead }
        const row = find.get(id)
        if (row === null) return { missing: `revocation:${id}` }
        const listed = JSON.parse(row.tokens) as Dead
        const known = new Set(listed.map((token) => token.id))
        const more = tokens.filter((token) => !known.has(token.id))
        if (more.length > 0) put.run(JSON.stringify([...listed, ...more]), id)
        return { event: null, after: () => 0 }
      },
    },
  }
}
