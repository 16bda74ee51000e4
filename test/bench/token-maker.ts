import { makeBigDatabase } from '../support/big-database.ts'
import { answerCalls } from './child.ts'

type Wanted = { folder: string; tokens: number; upstream: string; secretsMax: number }

/** Live tokens, and an even choice of their secrets. */
const make = ({ folder, tokens, upstream, secretsMax }: Wanted): string[] => {
  const made = makeBigDatabase({ folder, tokens, auditRows: 0, upstream, deadEvery: 0 })
  const step = Math.ceil(made.length / secretsMax)
  return made.filter((_, at) => at % step === 0).map(({ secret }) => secret)
}

answerCalls({ make })
