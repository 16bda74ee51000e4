import { closeSync, writeSync } from 'node:fs'

/**
 * Ends the process groups that are left when this process is gone, however it went: then the shell's input ends.
 * PR_SET_PDEATHSIG reaches one process, not its children, and is lost when a program changes its user. The form
 * `kill -9 -N` is the one that every /bin/sh knows. Those who end all of a service's processes start with SIGTERM.
 */
const SCRIPT = `trap '' TERM INT HUP QUIT
all=' '
while read -r sign group; do
  case $sign in
    +) all="$all$group " ;;
    -) case $all in *" $group "*) all="\${all%% $group *} \${all#* $group }" ;; esac ;;
  esac
done
for group in $all; do kill -9 "-$group"; done 2>/dev/null`

/** One that ends within this can't run here, or is killed on purpose: it is not started again in the same moment. */
const STARTED_MS = 100

interface Shell {
  child: Bun.Subprocess
  /** Its standard input. */
  fd: number
}

export class Reaper {
  readonly #groups = new Set<number>()
  #shell: Shell | null = null
  #again: ReturnType<typeof setTimeout> | null = null
  #stopped = false

  /** For tests, and for who wonders what that shell is. */
  get pid(): number | null {
    return this.#shell?.child.pid ?? null
  }

  get watched(): number {
    return this.#groups.size
  }

  /** Throws when there is no /bin/sh. */
  watch(pgid: number): void {
    this.#groups.add(pgid)
    if (this.#shell) this.#tell(`+ ${pgid}\n`)
    else if (!this.#again) this.#start()
  }

  /** To be called when nothing is left of the group: its number may be another's soon. */
  forget(pgid: number): void {
    if (this.#groups.delete(pgid)) this.#tell(`- ${pgid}\n`)
  }

  /** It ends what it still knows, and itself. */
  stop(): void {
    this.#stopped = true
    if (this.#again) clearTimeout(this.#again)
    this.#again = null
    this.#close()
  }

  #start(): void {
    this.#again = null
    if (this.#stopped) return
    const startedAt = performance.now()
    // Its own session: a Ctrl-C in the terminal, which ends the gate, must not reach it. The fourth descriptor is given
    // to us as a number; what is written to it is in the kernel when the call returns.
    const child = Bun.spawn(['/bin/sh', '-c', `exec <&3 3<&-\n${SCRIPT}`], {
      cwd: '/',
      env: {},
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
      onExit: () => {
        if (this.#shell?.child !== child) return
        this.#close()
        if (this.#stopped || this.#groups.size === 0) return
        const waitMs = performance.now() - startedAt < STARTED_MS ? STARTED_MS : 0
        this.#again = setTimeout(() => this.#start(), waitMs)
      },
    })
    // The gate may end while it runs.
    child.unref()
    this.#shell = { child, fd: child.stdio[3] as number }
    this.#tell([...this.#groups].map((group) => `+ ${group}\n`).join(''))
  }

  #tell(text: string): void {
    if (!this.#shell) return
    try {
      writeSync(this.#shell.fd, text)
    } catch {
      // It is dead, or stopped with a full pipe: its exit starts another, which is told all.
      this.#shell.child.kill('SIGKILL')
    }
  }

  #close(): void {
    if (this.#shell) closeSync(this.#shell.fd)
    this.#shell = null
  }
}
