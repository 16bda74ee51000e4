/** What a command of the system says, or null: not here, too slow, or it failed. */
export const answerOf = async (command: string[], timeoutMs: number): Promise<string | null> => {
  if (!Bun.which(command[0] as string)) return null
  const child = Bun.spawn(command, { stdin: 'ignore', stdout: 'pipe', stderr: 'ignore', timeout: timeoutMs })
  const [text, code] = await Promise.all([new Response(child.stdout).text(), child.exited])
  return code === 0 ? text : null
}
