export interface ShellRun {
  env: Record<string, string | undefined>
  cwd: string
  timeoutMs?: number
}

/** Runs a snippet in a shell, to its end; whatever it started and left behind ends with it. */
export const runInShell = async (text: string, { env, cwd, timeoutMs = 30_000 }: ShellRun) => {
  const child = Bun.spawn(['sh', '-eu', '-c', text], {
    cwd,
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    // A group of its own: a client's helpers hold the pipes open long after the client is gone.
    detached: true,
  })
  const endGroup = () => {
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
    }
  }
  const late = setTimeout(endGroup, timeoutMs)
  void child.exited.then(endGroup)
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  clearTimeout(late)
  return { code, stdout, stderr }
}
