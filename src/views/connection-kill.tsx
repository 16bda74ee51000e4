/** @jsxImportSource hono/jsx */
import type { ConnectionKind } from '../registry.ts'
import { ConfirmationPage } from './confirm.tsx'
import type { ConnectionRow } from './connection-table.tsx'
import type { Frame } from './layout.tsx'
import { age, count } from './words.ts'

const KINDS: Record<ConnectionKind, string> = {
  sse: 'event stream',
  stream: 'streamed answer',
  request: 'request',
  process: 'process',
  session: 'MCP session',
}

/** The second of the two steps. */
export const KillPage = ({ frame, connection }: { frame: Frame; connection: ConnectionRow & { parts: number } }) => {
  const { id, token, client, address, server, kind, ageMs, parts } = connection
  return (
    <ConfirmationPage
      frame={frame}
      title="Kill this connection?"
      action={`/connections/${id}/kill`}
      verb="Kill it"
      back="/connections"
      doomed={
        <p>
          The {KINDS[kind]} of{' '}
          <strong>
            <bdi>{token.name}</bdi>
          </strong>{' '}
          to {server}: {client === null ? 'a client without a name' : <bdi>{client}</bdi>} at {address}, {age(ageMs)}{' '}
          old
          {parts > 0 && `, with ${count(parts, 'request')} in it`}.
        </p>
      }
    >
      <p class="say" tabindex={-1} autofocus>
        {kind === 'process' && 'The process ends, and all that is under way in it. '}Its token stays as it is: the
        client may come back. To keep it out, revoke the token.
      </p>
    </ConfirmationPage>
  )
}
