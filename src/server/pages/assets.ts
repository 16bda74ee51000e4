import { Elysia } from 'elysia'
import htmx from 'htmx.org/dist/htmx.min.js' with { type: 'text' }
import css from '../../views/app.css' with { type: 'text' }
import js from '../../views/app.js' with { type: 'text' }
import icon from '../../views/icon.svg' with { type: 'text' }

// Imported as text, so that the executable carries them.
const asset = (name: string, type: string, text: string) => {
  const hash = new Bun.CryptoHasher('sha256').update(text).digest('base64url').slice(0, 12)
  const path = `/assets/${name}`
  return { path, url: `${path}?v=${hash}`, etag: `"${hash}"`, type: `${type}; charset=utf-8`, text }
}

const ASSETS = {
  css: asset('app.css', 'text/css', css),
  js: asset('app.js', 'text/javascript', js),
  htmx: asset('htmx.js', 'text/javascript', htmx),
  icon: asset('icon.svg', 'image/svg+xml', icon),
}

/** Where pages find them: another text has another address. */
export const assetUrls = { css: ASSETS.css.url, js: ASSETS.js.url, htmx: ASSETS.htmx.url, icon: ASSETS.icon.url }

const answer = (request: Request, { type, text, etag, url }: (typeof ASSETS)['css']): Response => {
  const { pathname, search } = new URL(request.url)
  const isNamed = pathname + search === url
  const headers = { etag, 'cache-control': isNamed ? 'public, max-age=31536000, immutable' : 'no-cache' }
  if (request.headers.get('if-none-match') === etag) return new Response(null, { status: 304, headers })
  return new Response(text, { headers: { ...headers, 'content-type': type } })
}

/** Nothing in them is secret: they are answered before anybody signs in. */
export const assetRoutes = () =>
  new Elysia({ name: 'assets' })
    .get(ASSETS.css.path, ({ request }) => answer(request, ASSETS.css))
    .get(ASSETS.js.path, ({ request }) => answer(request, ASSETS.js))
    .get(ASSETS.htmx.path, ({ request }) => answer(request, ASSETS.htmx))
    .get(ASSETS.icon.path, ({ request }) => answer(request, ASSETS.icon))
