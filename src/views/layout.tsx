/** @jsxImportSource hono/jsx */
import type { Child } from 'hono/jsx'
import type { Role } from '../operator.ts'
import { type Alarm, Alarms } from './alarms.tsx'
import { opens } from './danger.tsx'
import { Icon, type IconName } from './icons.tsx'
import { Palette } from './palette.tsx'

/** What stands around every page. */
export interface Frame {
  assets: { css: string; js: string; htmx: string; icon: string }
  /** Null while nobody is signed in; then nothing is said of the node either. */
  person: { name: string; role: Role; restricted: boolean } | null
  /** Path and query of the page itself: where it finds itself fresh. */
  path: string
  problems: string[]
  /** What is not well with the cluster, for whoever is signed in. */
  alarms: Alarm[]
}

/** `open` of what is unfolded is the reader's own doing, and no refresh may take it back. */
const HTMX_CONFIG = JSON.stringify({
  includeIndicatorCSS: false,
  history: false,
  morphIgnore: ['data-htmx-powered', 'open'],
})

const PAGES: { href: string; icon: IconName; text: string }[] = [
  { href: '/', icon: 'overview', text: 'Overview' },
  { href: '/tokens', icon: 'tokens', text: 'Tokens' },
  { href: '/connections', icon: 'connections', text: 'Connections' },
  { href: '/servers', icon: 'servers', text: 'Servers' },
  { href: '/revocations', icon: 'revocations', text: 'Revocations' },
  { href: '/audit', icon: 'audit', text: 'Audit' },
  { href: '/access', icon: 'access', text: 'Access' },
  { href: '/cluster', icon: 'cluster', text: 'Cluster' },
  { href: '/node', icon: 'node', text: 'Node' },
]

/** Whether a page is the one that the reader is on, or below it. */
const isHere = (href: string, path: string): boolean => {
  const [pathname = ''] = path.split('?')
  return pathname === href || (href !== '/' && pathname.startsWith(`${href}/`))
}

const Brand = () => (
  <a class="brand" href="/">
    <Icon name="brand" />
    Portcullis
  </a>
)

/** A link, so that it leads somewhere where no script runs; a script opens the palette in place. */
const FindButton = ({ label }: { label: string }) => (
  <a class="button find" href="/find" data-palette>
    <Icon name="find" />
    <span>{label}</span>
    <kbd>/</kbd>
  </a>
)

type Person = NonNullable<Frame['person']>

const Account = ({ person }: { person: Person }) => (
  <form class="account" method="post" action="/sign-out">
    <span class="who">
      <bdi>{person.name}</bdi> <span class="quiet">{person.role}</span>
    </span>
    <button type="submit">Sign out</button>
  </form>
)

const Menu = ({ person, path }: { person: Person; path: string }) => (
  <nav id="menu" class="menu" aria-label="Pages" popover="auto">
    <Brand />
    <FindButton label="Find and kill" />
    <ul>
      {PAGES.map(({ href, icon, text }) => (
        <li>
          <a href={href} aria-current={isHere(href, path) ? 'page' : undefined}>
            <Icon name={icon} />
            {text}
          </a>
        </li>
      ))}
    </ul>
    <Account person={person} />
    {person.role !== 'auditor' && (
      <a class="panic" href="/gate" {...opens('/gate')}>
        <Icon name="panic" />
        Close every gate
      </a>
    )}
  </nav>
)

/** Where a thumb reaches, on a narrow screen. */
const ThumbBar = () => (
  <nav class="thumbs" aria-label="At hand">
    <button type="button" popovertarget="menu">
      <Icon name="menu" />
      Menu
    </button>
    <FindButton label="Find and kill" />
  </nav>
)

const Problems = ({ problems }: { problems: string[] }) =>
  problems.length === 0 ? null : (
    <p id="problems" class="banner" role="status">
      Not ready: {problems.join('; ')}
    </p>
  )

/** What must be known whatever page one looks at. */
const Banners = ({ frame: { problems, alarms, path } }: { frame: Frame }) => (
  <>
    <Problems problems={problems} />
    <Alarms alarms={alarms} path={path} />
  </>
)

const Restricted = () => (
  <p class="banner" role="status">
    The database could not be written when you signed in: only revoke, kill and close work. Sign in again once it can.
  </p>
)

/**
 * What a page fetches of itself again and again: the same address, and of the answer this part alone.
 * It does not keep a session alive: `X-Live` tells the door that nobody did anything.
 */
export const Live = ({ frame, every = '2s', children }: { frame: Frame; every?: string; children: Child }) => (
  <div
    id="live"
    hx-get={frame.path}
    hx-select="#live"
    hx-swap="outerMorph ignoreTitle:true"
    hx-trigger={`every ${every}, refresh`}
    hx-headers='{"X-Live":"1"}'
    hx-sync="this:drop"
  >
    <Banners frame={frame} />
    {children}
  </div>
)

interface LayoutProps {
  title: string
  frame: Frame
  narrow?: boolean
  /** The page holds a `Live`, which says by itself what is wrong with the node. */
  refreshed?: boolean
  /** The page is the palette, which is there once only. */
  isPalette?: boolean
  children: Child
}

export const Layout = ({
  title,
  frame,
  narrow = false,
  refreshed = false,
  isPalette = false,
  children,
}: LayoutProps) => (
  <html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="color-scheme" content="light dark" />
      <meta name="robots" content="noindex" />
      <meta name="htmx-config" content={HTMX_CONFIG} />
      <title>{`${title} · Portcullis`}</title>
      <link rel="icon" href={frame.assets.icon} />
      <link rel="stylesheet" href={frame.assets.css} />
      <script src={frame.assets.htmx} defer></script>
      <script src={frame.assets.js} defer></script>
    </head>
    <body class={frame.person ? 'signed-in' : undefined}>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      {frame.person ? (
        <>
          <Menu person={frame.person} path={frame.path} />
          <ThumbBar />
        </>
      ) : (
        <header class="top">
          <Brand />
        </header>
      )}
      <div class="page">
        {!refreshed && <Banners frame={frame} />}
        {frame.person?.restricted && <Restricted />}
        <p id="stale" class="banner" role="alert" hidden></p>
        <main id="main" class={narrow ? 'narrow' : undefined} tabindex={-1}>
          {children}
        </main>
      </div>
      {frame.person && (
        <>
          {!isPalette && <Palette />}
          <dialog id="confirm" aria-labelledby="title" aria-describedby="doomed"></dialog>
        </>
      )}
    </body>
  </html>
)
