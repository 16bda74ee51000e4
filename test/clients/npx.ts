import { chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { findNode } from '../support/find-node.ts'
import { tempFolder } from '../support/temp.ts'

const MODULES = join(import.meta.dir, '../../node_modules')

const binOf = (name: string, command: string): string => {
  const manifest = JSON.parse(readFileSync(join(MODULES, name, 'package.json'), 'utf8')) as {
    bin: Record<string, string>
  }
  const bin = manifest.bin[command]
  if (bin === undefined) throw new Error(`${name} has no command ${command}`)
  return join(MODULES, name, bin)
}

/**
 * The environment in which a snippet runs as it stands: in its PATH, `npx -y` starts the package that is
 * installed here and downloads nothing. Its home is empty.
 */
export const snippetEnv = (): { PATH: string; HOME: string } => {
  const folder = tempFolder()
  const programs = {
    'mcp-remote': binOf('mcp-remote', 'mcp-remote'),
    '@modelcontextprotocol/inspector': binOf('@modelcontextprotocol/inspector', 'mcp-inspector'),
  }
  const cases = Object.entries(programs).map(
    ([name, bin]) => `'-y ${name}') shift 2; exec '${findNode()}' '${bin}' "$@" ;;`,
  )
  const npx = join(folder, 'npx')
  writeFileSync(npx, ['#!/bin/sh', 'case "$1 $2" in', ...cases, '*) exit 127 ;;', 'esac', ''].join('\n'))
  chmodSync(npx, 0o700)
  return { PATH: `${folder}:/usr/bin:/bin`, HOME: tempFolder() }
}
