import { type Finding, finding } from '../finding.ts'
import { daysLeft } from './certificate.ts'
import { shakeHands } from './handshake.ts'
import type { Subject } from './subject.ts'

interface Target {
  name: string
  url: string
  /** What the running node says of it; null: it has not looked. */
  reachable: boolean | null
  detail: string | null
}

const targetsOf = ({ said, records }: Subject): Target[] => {
  if (said) {
    return said.servers
      .filter(({ state }) => state === 'open')
      .flatMap(({ name, url, health }) =>
        url === null ? [] : [{ name, url, reachable: health.reachable, detail: health.detail }],
      )
  }
  const known = records.kind === 'known' ? records.servers : []
  return known.map(({ name, url }) => ({ name, url, reachable: null, detail: null }))
}

const lookAtServer = async (target: Target, { deps }: Subject): Promise<Finding | null> => {
  const { name, url, reachable, detail } = target
  const say = (level: Finding['level'], text: string, todo: string) =>
    finding('servers', level, `${name} (${url}): ${text}`, todo)
  if (!URL.canParse(url))
    return say('fail', 'its URL can not be read', `portcullis server rm ${name}, and add it again`)
  const { limits } = deps
  const { failure, certificate, distrust } = await shakeHands(new URL(url), limits.doctorAnswerMs)
  if (failure !== null)
    return say('warn', failure, `start ${name}, or correct its URL: portcullis server show ${name} shows it`)
  if (certificate?.valid_to) {
    const left = Date.parse(certificate.valid_to) - deps.now()
    const renew = 'renew its certificate'
    if (left <= 0) return say('fail', `its certificate has expired, on ${certificate.valid_to}`, renew)
    if (left < limits.serverCertificateMs) {
      const days = daysLeft(certificate.valid_to, deps.now())
      return say('warn', `its certificate expires in ${days === 1 ? 'a day' : `${days} days`}`, renew)
    }
  }
  if (reachable === false) return say('warn', `the node can't use it: ${detail}`, `portcullis server show ${name}`)
  // The node may know authorities that this shell does not: what it says of the server comes first.
  if (distrust !== null && reachable !== true) {
    const todo = 'use a certificate that this machine trusts, or name its authority in NODE_EXTRA_CA_CERTS of the node'
    return say('warn', `its certificate is not trusted here (${distrust})`, todo)
  }
  return null
}

/** Whether the servers behind the gate can be connected to, and until when their certificates are good. */
export const servers = async (subject: Subject): Promise<Finding[]> => {
  const { doctorConnectsMax, doctorFindingsMax } = subject.deps.limits
  const targets = targetsOf(subject)
  if (targets.length === 0) return []
  const found: Finding[] = []
  for (let at = 0; at < targets.length; at += doctorConnectsMax) {
    const slice = targets.slice(at, at + doctorConnectsMax)
    const looked = await Promise.all(slice.map((target) => lookAtServer(target, subject)))
    found.push(...looked.filter((one) => one !== null))
  }
  const fine = targets.length - found.length
  if (found.length === 0)
    return [finding('servers', 'ok', targets.length === 1 ? 'one, and it answers' : `all ${fine} answer`)]
  const shown = found.toSorted((a, b) => Number(a.level === 'warn') - Number(b.level === 'warn'))
  const more = shown.length - doctorFindingsMax
  if (more <= 0) return shown
  return [...shown.slice(0, doctorFindingsMax), finding('servers', 'warn', `and ${more} more`, 'portcullis server ls')]
}
