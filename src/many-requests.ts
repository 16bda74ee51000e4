/**
 * `fetch` allows 256 requests at once unless this is set before the process starts, so a node replaces
 * its process once, which settles proxies too. This is the first import of `main.ts`: nothing else has been loaded by then.
 */
const VARIABLE = 'BUN_CONFIG_MAX_HTTP_REQUESTS'
const REQUESTS_MAX = '65535'

/** What is on this machine is never reached through a proxy of the environment, which would see its credentials. */
const DIRECT = ['localhost', '127.0.0.1', '::1']

const isNode = process.argv.slice(2).some((word) => word === 'serve' || word === 'demo')

if (isNode && process.env[VARIABLE] === undefined && typeof process.execve === 'function') {
  // In the executable, `argv` holds the runtime's name and the embedded path first.
  const own = process.argv.slice(process.argv[1]?.includes('$bunfs') ? 2 : 1)
  const direct = [process.env.NO_PROXY ?? process.env.no_proxy ?? '', ...DIRECT].filter(Boolean).join(',')
  const env = { ...process.env, [VARIABLE]: REQUESTS_MAX, NO_PROXY: direct, no_proxy: direct } as NodeJS.ProcessEnv
  try {
    process.execve(process.execPath, [process.execPath, ...own], env)
  } catch (error) {
    // Such as under an emulator: it runs all the same, only with fewer requests.
    console.error(`no more than 256 requests at once can be passed on: ${String(error)}`)
  }
}

export {}
