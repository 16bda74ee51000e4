import type { Finding } from '../finding.ts'
import type { Restored } from '../restored.ts'
import type { Version } from '../version.ts'
import type { VerificationJson } from './answers.ts'

/** What the command line can't do as a client of a running node; given by the composition root. */
export interface Hooks {
  /** Both take their arguments unparsed, the command's own name left out, and resolve to the exit code. */
  serve(argv: string[]): Promise<number>
  demo(argv: string[]): Promise<number>
  /** `sudo` spells the same command for somebody with the rights, for that folder. */
  restore(
    file: string,
    options: {
      data?: string
      keyFile?: string
      wholeCluster: boolean
      alone: boolean
      sudo: (folder: string) => string
    },
  ): Promise<Restored>
  doctor(options: { data?: string; sudo: (folder: string) => string }): Promise<Finding[]>
  /** `file` and `checkpoint` are paths. */
  verifyOffline(file: string, checkpoint: string | null, options: { data?: string }): Promise<VerificationJson>
  version: Version
  /** Where a data folder is looked for when none is named, in this order. */
  defaultDataFolders(): string[]
}
