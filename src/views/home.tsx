/** @jsxImportSource hono/jsx */
import { type ConnectionList, Connections } from './connections.tsx'
import { type Frame, Layout, Problems } from './layout.tsx'
import { type ServerList, Servers } from './servers.tsx'
import { type TokenList, Tokens } from './tokens.tsx'
import { count } from './words.ts'

export interface Lists {
  q: string
  problems: string[]
  tokens: TokenList
  connections: ConnectionList
  servers: ServerList
  liveTokens: number
  mayAct: boolean
  mayIssue: boolean
}

/** The lists: a part of the page, and what it fetches again and again. */
export const Live = ({ q, problems, tokens, connections, servers, liveTokens, mayAct, mayIssue }: Lists) => (
  <>
    <Problems problems={problems} />
    <p id="summary" class="summary" aria-live="polite" aria-atomic="true">
      {`${count(liveTokens, 'live token')}, ${count(connections.total, 'live connection')}`}
    </p>
    <Tokens list={tokens} mayAct={mayAct} mayIssue={mayIssue} />
    <Connections list={connections} mayAct={mayAct} q={q} />
    <Servers list={servers} />
  </>
)

const Filter = ({ q, lengthMax }: { q: string; lengthMax: number }) => (
  <form class="filter" method="get" action="/" role="search">
    <label for="q">Filter by name, subject or group</label>
    <input id="q" name="q" type="search" value={q} maxlength={lengthMax} autocomplete="off" spellcheck={false} />
    <button type="submit">Filter</button>
    {q !== '' && (
      <a class="button" href="/">
        Show all
      </a>
    )}
  </form>
)

type HomeProps = { frame: Frame; lists: Lists; notice: string | null; filterLengthMax: number }

export const HomePage = ({ frame, lists, notice, filterLengthMax }: HomeProps) => (
  <Layout title="Tokens and connections" frame={frame} refreshed>
    <h1>Tokens and connections</h1>
    {notice !== null && (
      <p class="notice" role="status">
        {notice}
      </p>
    )}
    <Filter q={lists.q} lengthMax={filterLengthMax} />
    <noscript>
      <p class="hint">
        Without scripts this page does not refresh itself. <a href="/">Load it again</a>
      </p>
    </noscript>
    <p id="stale" class="banner" role="alert" hidden>
      The console does not answer: the lists below may be out of date.
    </p>
    <div
      id="live"
      hx-get="/live"
      hx-include="#q"
      hx-swap="innerMorph"
      hx-trigger="every 2s, refresh, input changed delay:250ms from:#q"
    >
      <Live {...lists} />
    </div>
    <dialog id="confirm" aria-labelledby="title"></dialog>
  </Layout>
)
