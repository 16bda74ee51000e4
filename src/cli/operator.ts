import { type Command, Option } from 'commander'
import { ROLES } from '../operator.ts'
import type { LinkJson, OperatorCreatedJson, OperatorJson } from './answers.ts'
import type { Cli } from './cli.ts'
import { segment } from './client.ts'
import { printLink } from './link.ts'
import { ago, table } from './output.ts'

export const operatorCommand = (program: Command, cli: Cli): void => {
  const operator = program.command('operator').description('people who sign in to the console')

  operator
    .command('create')
    .description('create an operator; prints a one-time link to set a password with')
    .argument('<NAME>')
    .addOption(new Option('--role <ROLE>', 'what they may do').choices(ROLES).makeOptionMandatory())
    .action(async (name: string, { role }: { role: string }) => {
      const client = cli.client()
      const created = await client.post<OperatorCreatedJson>('/operators', { name, role })
      const done = `Created ${created.role} ${created.name}.`
      const { link } = created
      if (link) {
        const what = `${done} Give them this link to set a password.`
        return printLink(cli, client, { what, link, document: created })
      }
      const text = `${done} The link was already shown once; \`portcullis operator reset\` makes another.`
      await cli.print(created, () => text)
    })

  operator
    .command('ls')
    .description('list the operators')
    .action(async () => {
      const page = await cli.client().all<OperatorJson>('/operators')
      const head = ['ID', 'NAME', 'ROLE', 'CREATED', 'LAST SIGN-IN', 'PASSWORD']
      const row = (o: OperatorJson) => [
        o.id,
        o.name,
        o.role,
        o.createdAt,
        ago(o.lastSignInAt),
        o.ready ? 'set' : 'not yet set',
      ]
      await cli.print(page, () => table(head, page.items.map(row), 'No operators. `portcullis setup` makes the first.'))
    })

  operator
    .command('rm')
    .description('remove an operator, and end their sessions')
    .argument('<NAME>')
    .action(async (name: string) => {
      const answer = await cli.client().delete(`/operators/${segment(name)}`)
      await cli.print(answer ?? {}, () => `Operator ${name} is removed.`)
    })

  operator
    .command('reset')
    .description('print a one-time link with which an operator sets a new password')
    .argument('<NAME>')
    .action(async (name: string) => {
      const client = cli.client()
      const link = await client.post<LinkJson>(`/operators/${segment(name)}/links`)
      await printLink(cli, client, { what: `A link for ${name} to set a new password.`, link, document: link })
    })
}
