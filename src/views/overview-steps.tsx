/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'

/** How far the first run is. */
export interface StepsCard {
  hasServer: boolean
  /** The only token, or null while there is none. */
  token: { id: string; name: string } | null
  mayChange: boolean
}

type StepProps = { title: string; isDone: boolean; isNext: boolean; children: Child }

const Step = ({ title, isDone, isNext, children }: StepProps) => (
  <li class={isDone ? 'done' : undefined} aria-current={isNext ? 'step' : undefined}>
    <h2>
      {title}
      {isDone && <span class="status active">done</span>}
    </h2>
    {children}
  </li>
)

/** What to do on a new node, one after the other, until something has come through the gate. */
export const Steps = ({ card: { hasServer, token, mayChange } }: { card: StepsCard }) => (
  <section class="card" aria-label="First steps">
    <p>
      <strong>Nothing has passed the gate yet.</strong> Three steps, and it does.
    </p>
    <ol class="steps">
      <Step title="Add a server" isDone={hasServer} isNext={!hasServer}>
        <p>
          The MCP server or HTTP API that clients are to reach. It is looked at, and keeps its credentials to itself.
        </p>
        {mayChange && !hasServer && (
          <a class="button main" href="/servers/new">
            Add a server
          </a>
        )}
      </Step>
      <Step title="Make a token" isDone={token !== null} isNext={hasServer && token === null}>
        <p>One for each client, so that each can be killed by itself. Its secret is shown once.</p>
        {mayChange && hasServer && token === null && (
          <a class="button main" href="/tokens/new">
            Make a token
          </a>
        )}
      </Step>
      <Step title="Point a client at it" isDone={false} isNext={token !== null}>
        <p>Paste what the token's page says into Claude Code, Cursor or any other. What it does then moves here.</p>
        {token !== null && (
          <a class="button main" href={`/tokens/${token.id}/connect`}>
            How to connect
          </a>
        )}
      </Step>
    </ol>
  </section>
)
