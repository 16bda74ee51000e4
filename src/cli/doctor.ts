import type { Command } from 'commander'
import type { Cli } from './cli.ts'
import { EXIT, usage } from './exit.ts'
import type { Finding } from '../finding.ts'
import { sudoCommand } from './locate.ts'
import { clean, table } from './output.ts'

const findingsText = (findings: Finding[]): string => {
  const rows = findings.map((f) => [f.level.toUpperCase(), f.check, f.finding])
  const found = table(['', 'CHECK', 'FINDING'], rows, 'Nothing was checked.')
  const todo = findings.filter((f) => f.todo !== '').map((f) => `  ${clean(f.check)}: ${clean(f.todo)}`)
  return (todo.length > 0 ? [found, '', 'To do:', ...todo] : [found]).join('\n')
}

export const doctorCommand = (program: Command, cli: Cli): void => {
  program
    .command('doctor')
    .description('look for what is wrong with this installation; exits 1 when something fails')
    .action(async () => {
      const { data } = cli.globals
      if (data === '') throw usage('--data: the path is empty')
      const sudo = (folder: string) => sudoCommand(cli.argv, folder, data !== undefined)
      const checks = await cli.hooks.doctor({ ...(data !== undefined && { data }), sudo })
      const ok = checks.every((finding) => finding.level !== 'fail')
      await cli.print({ ok, checks }, () => findingsText(checks))
      if (!ok) cli.exitCode = EXIT.failed
    })
}
