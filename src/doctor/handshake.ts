import { connect as connectPlain, isIP } from 'node:net'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import { endpointOf } from '../address.ts'
import { messageOf } from '../error.ts'

/** What a server showed when it was connected to. */
export interface Handshake {
  /** Why it could not be connected to; null: it could. */
  failure: string | null
  certificate: PeerCertificate | null
  /** Why a client of this machine would not trust it; null: it would. */
  distrust: string | null
  /** The first line of its answer, where it was asked for something. */
  line: string | null
}

/** A status line is shorter. */
const LINE_LENGTH_MAX = 200

/**
 * Connects to where a URL leads, shakes hands where that is TLS, and hangs up; sends nothing but `request`. It goes
 * straight there: `fetch` would take the proxy that the environment names.
 */
export const shakeHands = (url: URL, timeoutMs: number, request: string | null = null): Promise<Handshake> =>
  new Promise((resolve) => {
    const { host, port, tls: isTls } = endpointOf(url)
    const tls = isTls
      ? connectTls({ host, port, rejectUnauthorized: false, ...(isIP(host) === 0 && { servername: host }) })
      : null
    const socket = tls ?? connectPlain({ host, port })
    let answer = ''
    const end = (failure: string | null) => {
      clearTimeout(late)
      const certificate = tls && failure === null ? tls.getPeerCertificate() : null
      const distrust = tls && failure === null && !tls.authorized ? String(tls.authorizationError) : null
      socket.destroy()
      resolve({ failure, certificate, distrust, line: request === null ? null : (answer.split('\r\n')[0] ?? '') })
    }
    const late = setTimeout(() => end(`nothing within ${timeoutMs / 1000} s`), timeoutMs)
    socket.on('error', (error) => end(messageOf(error)))
    socket.on('close', () => end('it hung up'))
    socket.once(isTls ? 'secureConnect' : 'connect', () => (request === null ? end(null) : socket.write(request)))
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      if (request !== null && (answer.includes('\r\n') || answer.length > LINE_LENGTH_MAX)) end(null)
    })
  })
