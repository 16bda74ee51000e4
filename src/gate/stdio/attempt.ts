import { messageOf } from '../../error.ts'

const TIMEOUT_MS = 10_000

/** Runs a short command, as a user. Null: it did its work; else what it said instead. */
export const attempt = async (argv: string[], user: { uid?: number; gid?: number }): Promise<string | null> => {
  try {
    const child = Bun.spawn(argv, {
      ...{ cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' },
      timeout: TIMEOUT_MS,
      ...user,
    })
    const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited])
    return code === 0 ? null : said.trim().slice(0, 300) || `it ended with code ${code}`
  } catch (error) {
    return messageOf(error)
  }
}
