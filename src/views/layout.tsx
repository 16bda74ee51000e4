/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { Role } from '../operator.ts'

/** What stands around every page. */
export interface Frame {
  assets: { css: string; js: string; htmx: string }
  /** Null while nobody is signed in; then nothing is said of the node either. */
  person: { name: string; role: Role; restricted: boolean } | null
  problems: string[]
}

/** `open` of what is unfolded is the reader's own doing, and no refresh may take it back. */
const HTMX_CONFIG = JSON.stringify({
  includeIndicatorCSS: false,
  history: false,
  morphIgnore: ['data-htmx-powered', 'open'],
})

const Header = ({ person }: { person: Frame['person'] }) => (
  <header class="top">
    <a class="brand" href="/">
      Portcullis
    </a>
    {person && (
      <form class="person" method="post" action="/sign-out">
        <span>
          {person.name} <span class="quiet">{person.role}</span>
        </span>
        <button type="submit">Sign out</button>
      </form>
    )}
  </header>
)

export const Problems = ({ problems }: { problems: string[] }) =>
  problems.length === 0 ? null : (
    <p id="problems" class="banner" role="status">
      Not ready: {problems.join('; ')}
    </p>
  )

const Restricted = () => (
  <p class="banner" role="status">
    The database could not be written when you signed in: only revoke, kill and close work. Sign in again once it can.
  </p>
)

interface LayoutProps {
  title: string
  frame: Frame
  narrow?: boolean
  /** The page itself says what is wrong with the node, and keeps that fresh. */
  refreshed?: boolean
  children: Child
}

export const Layout = ({ title, frame, narrow = false, refreshed = false, children }: LayoutProps) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <meta name="robots" content="noindex" />
      <meta name="htmx-config" content={HTMX_CONFIG} />
      <title>{`${title} · Portcullis`}</title>
      <link rel="icon" href="data:," />
      <link rel="stylesheet" href={frame.assets.css} />
      <script src={frame.assets.htmx} defer></script>
      <script src={frame.assets.js} defer></script>
    </head>
    <body>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <Header person={frame.person} />
      {!refreshed && <Problems problems={frame.problems} />}
      {frame.person?.restricted && <Restricted />}
      <main id="main" class={narrow ? 'narrow' : undefined} tabindex={-1}>
        {children}
      </main>
    </body>
  </html>
)
