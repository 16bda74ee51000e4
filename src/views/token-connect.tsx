/** @jsxImportSource hono/jsx */
import type { Snippet } from '../connect.ts'
import { Copyable } from './copy.tsx'
import { TokenCrumb, type TokenNamed } from './crumb.tsx'
import { type Frame, Layout } from './layout.tsx'
import { Pager } from './pager.tsx'
import { Snippets } from './snippets.tsx'

interface ConnectProps {
  frame: Frame
  token: TokenNamed
  /** Of the servers of this page alone. */
  urls: Record<string, string>
  snippets: Record<string, Snippet>
  next: string | null
}

/** What to paste into a client, with a placeholder for the secret. */
export const ConnectPage = ({ frame, token, urls, snippets, next }: ConnectProps) => (
  <Layout title={`Connect with ${token.name}`} frame={frame}>
    <div class="sheet">
      <TokenCrumb token={token} />
      <h1>Connect a client</h1>
      <p class="hint">The secret is not shown again: put it where the placeholder stands.</p>
      <ul class="urls card">
        {Object.entries(urls).map(([server, url]) => (
          <li>
            {server}
            <Copyable id={`url-${server}`} what={`the URL of ${server}`}>
              {url}
            </Copyable>
          </li>
        ))}
      </ul>
      <section class="card" aria-label="What to paste">
        <Snippets snippets={snippets} />
      </section>
      <Pager path={frame.path} next={next} of="servers" />
    </div>
  </Layout>
)
