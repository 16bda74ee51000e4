import { messageOf } from '../error.ts'
import { type Finding, finding } from '../finding.ts'
import { address, trustedProxies } from './addresses.ts'
import { certificate } from './certificate.ts'
import { clock } from './clock.ts'
import { cluster } from './cluster.ts'
import { auditLog, database, log, owner } from './database.ts'
import { disk, fsync } from './disk.ts'
import { files, leftOvers } from './files.ts'
import { dataFolder, fileSystem } from './folder.ts'
import { journal } from './journal.ts'
import { key } from './key.ts'
import { node, version } from './node.ts'
import { codeOf, quoted } from './path.ts'
import { openFiles } from './open-files.ts'
import { servers } from './servers.ts'
import { service } from './service.ts'
import { settings } from './settings.ts'
import { stdioServers } from './stdio.ts'
import { type DoctorDeps, type Subject, subjectOf } from './subject.ts'

/** All that is looked at, in the order in which it is told. docs/doctor.md explains each by its name. */
export const CHECKS: Record<string, (subject: Subject) => Finding[] | Promise<Finding[]>> = {
  version,
  settings,
  node,
  service,
  'data folder': dataFolder,
  'file system': fileSystem,
  files,
  'left-overs': leftOvers,
  disk,
  fsync,
  'key file': key,
  database,
  log,
  journal,
  'audit log': auditLog,
  owner,
  clock,
  'open files': openFiles,
  'gate address': address('gate'),
  'console address': address('console'),
  'trusted proxies': trustedProxies,
  certificate,
  servers,
  'stdio servers': stdioServers,
  cluster,
}

/** Looks at what a node stands on, beside it or without it. Changes nothing, and never throws. */
export const doctor = async (deps: DoctorDeps): Promise<Finding[]> => {
  const subject = await subjectOf(deps)
  const found: Finding[] = []
  // One after the other: a slow disk or a busy node must not be made slower by looking at it.
  for (const [check, look] of Object.entries(CHECKS)) {
    try {
      found.push(...(await look(subject)))
    } catch (error) {
      const { folder } = subject
      const todo = codeOf(error) === 'EACCES' ? deps.sudo(folder) : `see what is there: ls -la ${quoted(folder)}`
      found.push(finding(check, 'fail', `could not be looked at: ${messageOf(error)}`, todo))
    }
  }
  return found
}
