import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, type Stats } from 'node:fs'
import { isIP } from 'node:net'
import { rootCertificates } from 'node:tls'
import { endpointOf } from '../address.ts'
import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { shakeHands } from './handshake.ts'
import { lookAt, quoted } from './path.ts'
import type { Settings, Subject } from './subject.ts'
import { asRoot, mayRead, ownUid, userName } from './user.ts'

const DAY_MS = 86_400_000
const say = (level: Finding['level'], text: string, todo = '') => finding('certificate', level, text, todo)

/** How long something is still good, for people; negative when it is over. */
export const daysLeft = (validTo: string, now: number): number => Math.floor((Date.parse(validTo) - now) / DAY_MS)

const chainOf = (pem: string): X509Certificate[] =>
  [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([one]) => new X509Certificate(one),
  )

/** Whether a client can get from the certificate to an authority with what the file holds. */
const isWhole = (chain: X509Certificate[]): boolean => {
  const last = chain.at(-1) as X509Certificate
  if (last.issuer === last.subject) return true
  return rootCertificates.some((pem) => last.checkIssued(new X509Certificate(pem)))
}

const covers = (certificate: X509Certificate, host: string): boolean =>
  (isIP(host) ? certificate.checkIP(host) : certificate.checkHost(host)) !== undefined

/** Names under which people and clients reach it: those of the public URLs. */
const hostsOf = ({ gateUrl, consoleUrl }: Settings): string[] => [
  ...new Set(
    [gateUrl, consoleUrl]
      .filter((url) => url !== null)
      .map((url) => endpointOf(new URL(url)).host)
      .filter((host) => isIP(host) === 0 && host !== 'localhost'),
  ),
]

const fileFindings = (file: string, what: string, { uid, deps, folder }: Subject): Finding[] => {
  let at: Stats | 'absent' | 'hidden'
  try {
    at = lookAt(file)
  } catch (error) {
    return [say('fail', messageOf(error), `put the ${what} there`)]
  }
  if (at === 'absent') return [say('fail', `${file} is missing`, `put the ${what} there: the next start needs it`)]
  if (at === 'hidden') return [say('warn', `you may not look at ${file}`, deps.sudo(folder))]
  const user = uid ?? ownUid()
  if (!mayRead(user, at)) {
    const todo = asRoot(`setfacl -m u:${userName(user).replace('UID ', '')}:r ${quoted(file)}`)
    return [say('fail', `${file} can't be read by ${userName(user)}, whom the node runs as`, todo)]
  }
  if (what === 'key' && at.mode & 0o007)
    return [say('fail', `${file}: everybody may read the key`, asRoot(`chmod o= ${quoted(file)}`))]
  return []
}

const expiry = (validTo: string, now: number, soonMs: number): Finding => {
  const days = daysLeft(validTo, now)
  const left = Date.parse(validTo) - now
  const renew = 'renew it, then let the node read it again: systemctl reload portcullis, or kill -HUP its process'
  if (left <= 0) return say('fail', `it has expired, on ${validTo}: clients refuse it`, renew)
  if (left < soonMs) return say('warn', `it expires in ${days === 1 ? 'a day' : `${days} days`}, on ${validTo}`, renew)
  return say('ok', `it is good for ${days} more days`)
}

/** What the running node really shows: it may not have read the file again. */
const served = async ({ deps }: Subject, settings: Settings): Promise<X509Certificate | null> => {
  const { host, port } = settings.gate
  const at = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : isIP(host) === 6 ? `[${host}]` : host
  const { certificate } = await shakeHands(new URL(`https://${at}:${port}`), deps.limits.doctorAnswerMs)
  return certificate?.raw ? new X509Certificate(certificate.raw) : null
}

/** The certificate of both listeners: its time, its names, its chain, its key, and whether the node has read it. */
export const certificate = async (subject: Subject): Promise<Finding[]> => {
  const { settings, node, deps } = subject
  if (!settings?.tls) return []
  const { certFile, keyFile } = settings.tls
  const found = [...fileFindings(certFile, 'certificate', subject), ...fileFindings(keyFile, 'key', subject)]
  const now = deps.now()
  const shown = node ? await served(subject, settings) : null
  let chain: X509Certificate[] = []
  try {
    chain = chainOf(readFileSync(certFile, 'utf8'))
    const key = createPrivateKey(readFileSync(keyFile))
    if (chain[0] && !chain[0].checkPrivateKey(key))
      found.push(say('fail', `${keyFile} is not the key of ${certFile}`, 'put the two that belong together there'))
  } catch (error) {
    if (found.length === 0)
      found.push(say('fail', messageOf(error), 'put a certificate and its key there, both in PEM'))
  }
  const [file] = chain
  if (shown && file && shown.fingerprint256 !== file.fingerprint256) {
    const todo = 'let the node read it: systemctl reload portcullis, or kill -HUP its process'
    found.push(say('warn', `${certFile} is not the one that the node shows: it has not read it again`, todo))
  }
  const current = shown ?? file
  if (!current) return found
  for (const host of hostsOf(settings)) {
    if (!covers(current, host))
      found.push(say('fail', `it is not for ${host}, which is in your URLs`, `get one that names ${host}`))
  }
  if (file && !isWhole(chain)) {
    const why = `${certFile} lacks the certificate of its issuer, which is none that everybody knows`
    found.push(say('warn', why, "use the file with the whole chain (fullchain.pem), or give clients your authority's"))
  }
  const time = expiry(current.validTo, now, deps.limits.certificateMs)
  return time.ok && found.length > 0 ? found : [...found, time]
}
