/** @jsxImportSource hono/jsx */
import { Choices } from './choices.tsx'
import { CopyButton } from './copy.tsx'
import { Crumb } from './crumb.tsx'
import { Failure } from './failure.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Countdown } from './time.tsx'

interface FormProps {
  frame: Frame
  /** The same form sent twice makes one ticket. */
  formId: string
  /** It stands alone: the first ticket makes it the first node of a cluster. */
  isFounding: boolean
  failure: string | null
}

export const TicketFormPage = ({ frame, formId, isFounding, failure }: FormProps) => (
  <Layout title="Add a node" frame={frame} narrow>
    <Crumb to="/cluster">Cluster</Crumb>
    <h1>Add a node</h1>
    <Failure text={failure} />
    <p>
      You get a ticket, and the command to type on the other machine. Whoever has the ticket gets all that this node
      knows, so hand it over as you would the key. It works once, for ten minutes.
    </p>
    {isFounding && <p>This node becomes the first of a cluster, and all that it has goes to the nodes that join.</p>}
    <form class="stack" method="post" action="/cluster/tickets/new" data-once>
      <input type="hidden" name="form" value={formId} />
      <Choices verb="Make a ticket" back="/cluster" autofocus />
    </form>
  </Layout>
)

/** One argument a line, so that it can be read and checked. */
export const joinCommand = (url: string, ticket: string): string =>
  `portcullis serve --cluster-listen HOST:PORT \\\n  --cluster-join ${url} \\\n  --ticket ${ticket}`

const isLocal = (url: string): boolean => /^(?:127\.|\[::1\]$|localhost$)/.test(URL.parse(url)?.hostname ?? '')

interface TicketProps {
  frame: Frame
  ticket: string
  /** Where the other node reaches this one. */
  url: string
  expiresAt: string
  now: number
}

/** The one page that holds a ticket. */
export const TicketPage = ({ frame, ticket, url, expiresAt, now }: TicketProps) => (
  <Layout title="A ticket" frame={frame}>
    <div class="sheet">
      <Crumb to="/cluster">Cluster</Crumb>
      <h1>A ticket for one node</h1>
      <section class="card" aria-labelledby="ticket-title">
        <h2 id="ticket-title">On the other machine</h2>
        <p>
          Type this, with an address of that machine in place of <code>HOST:PORT</code>, at which the other nodes reach
          it. Its data folder must be empty.
        </p>
        <pre id="command">{joinCommand(url, ticket)}</pre>
        <p class="secret">
          <CopyButton of="command" what="the command" />
        </p>
        <p class="warning">
          It works once, for another <Countdown until={expiresAt} now={now} />, and is shown only now.
        </p>
        <p class="hint">This node keeps it in memory: if it restarts meanwhile, make another.</p>
        {isLocal(url) && (
          <p class="hint">
            <code>{url}</code> is reached from this machine alone. For others, start this node with{' '}
            <code>--cluster-listen</code> on an address of the network.
          </p>
        )}
      </section>
      <p class="links">
        <a class="button" href="/cluster">
          See it join
        </a>
      </p>
    </div>
  </Layout>
)

/** What a reload of that page gets, or the second of two submits. */
export const TicketBeforePage = ({ frame }: { frame: Frame }) => (
  <Layout title="Made already" frame={frame} narrow>
    <h1>Made already</h1>
    <p>This form made a ticket before, and nothing was done now. The ticket was shown then, and is not shown again.</p>
    <p class="links">
      <a class="button" href="/cluster/tickets/new">
        Make another
      </a>
      <a class="button" href="/cluster">
        Back to the cluster
      </a>
    </p>
  </Layout>
)
