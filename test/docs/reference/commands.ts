import type { Argument, Command, Option } from 'commander'
import { cell, code, page, sentence, table } from './markdown.ts'

const choicesOf = ({ argChoices }: Argument | Option): string =>
  argChoices ? `: ${argChoices.map((choice) => code(choice)).join(', ')}` : ''

const argumentRow = (argument: Argument): string[] => {
  const name = argument.variadic ? `${argument.name()}…` : argument.name()
  return [code(argument.required ? name : `[${name}]`), cell(sentence(argument.description)) + choicesOf(argument)]
}

const optionRow = (option: Option): string[] => {
  const must = option.mandatory ? ' (required)' : ''
  return [code(option.flags), cell(sentence(option.description)) + must + choicesOf(option)]
}

const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()

/** How it is typed; nothing is to be said of options where there are none. */
const usageOf = (command: Command): string => {
  const usage = command.options.length > 0 ? command.usage() : command.usage().replace('[options]', '')
  return `${pathOf(command)} ${usage.trim()}`.trim()
}

/** One command with all that it takes. A noun alone, such as `token`, only leads to its commands. */
const sectionOf = (command: Command, level: string): string[] => {
  const told = command.registeredArguments.filter(({ description }) => description !== '')
  const rows = [...told.map(argumentRow), ...command.options.map(optionRow)]
  const own = [`${level} ${pathOf(command)}`, `${sentence(command.description())}.`]
  if (command.commands.length === 0) own.push(`\`\`\`\n${usageOf(command)}\n\`\`\``)
  if (rows.length > 0) own.push(table(['', ''], rows))
  return [...own, ...command.commands.flatMap((child) => sectionOf(child, `${level}#`))]
}

/** The settings of a node have a page of their own. */
const STARTS = new Set(['serve', 'demo'])

export const commands = (program: Command): string => {
  const listed = program.commands.filter((command) => !STARTS.has(command.name()))
  const starts = program.commands.filter((command) => STARTS.has(command.name()))
  return page(
    'Commands',
    '`portcullis COMMAND --help` says the same. Commands talk to the running node, over the socket in its data folder, or over\n' +
      'HTTPS to its console. They exit with 0 when it is done, 1 when it was refused or failed, 2 for bad usage, 3 when no node\n' +
      'answers.',
    'Before or after any command:',
    table(['', ''], program.options.map(optionRow)),
    ...starts.flatMap((command) => [`## portcullis ${command.name()}`, `${sentence(command.description())}.`]),
    'Both take the [settings](settings.md) as flags.',
    ...listed.flatMap((command) => sectionOf(command, '##')),
  )
}
