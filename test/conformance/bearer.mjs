import diagnostics from 'node:diagnostics_channel'
import http from 'node:http'

/**
 * Loaded into the suites' process, which have no option for headers: shows the token on every request to the
 * gate. `fetch` and undici's `request` tell of theirs on a channel; a few scenarios use `node:http`.
 */
const { CONFORMANCE_ORIGIN: origin, CONFORMANCE_TOKEN: token } = process.env
if (!origin || !token) throw new Error('CONFORMANCE_ORIGIN and CONFORMANCE_TOKEN must be set')
const value = `Bearer ${token}`

diagnostics.subscribe('undici:request:create', ({ request }) => {
  if (request.origin === origin) request.addHeader('authorization', value)
})

const { request } = http
http.request = (...args) => {
  const asked = request(...args)
  if (`http://${asked.getHeader('host')}` === origin) asked.setHeader('authorization', value)
  return asked
}
