import { messageOf } from '../../error.ts'

const TIMEOUT_MS = 10_000

/** Runs a short command, as a user. `trouble` is what it said where it did not do its work; else `said` is its output. */
export const attempt = async (
  argv: string[],
  user: { uid?: number; gid?: number },
): Promise<{ said: string; trouble: string | null }> => {
  try {
    const child = Bun.spawn(argv, {
      ...{ cwd: '/', env: { PATH: '/usr/bin:/bin' }, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' },
      timeout: TIMEOUT_MS,
      ...user,
    })
    const texts = [child.stdout, child.stderr].map((stream) => new Response(stream).text())
    const [code, said = '', wrong = ''] = await Promise.all([child.exited, ...texts])
    return { said, trouble: code === 0 ? null : wrong.trim().slice(0, 300) || `it ended with code ${code}` }
  } catch (error) {
    return { said: '', trouble: messageOf(error) }
  }
}
