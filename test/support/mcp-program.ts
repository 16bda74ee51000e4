import { join } from 'node:path'
import { tempFolder } from './temp.ts'

/** The MCP server of `upstreams/stdio/mcp.ts` as one executable, for machines and sandboxes that see nothing of this checkout. */
export const mcpProgram = async (): Promise<string> => {
  const file = join(tempFolder(), 'mcp')
  const source = join(import.meta.dir, 'upstreams/stdio/mcp.ts')
  await Bun.$`${process.execPath} build --compile ${source} --outfile ${file}`.quiet()
  return file
}
