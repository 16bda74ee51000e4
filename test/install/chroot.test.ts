import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import packageJson from '../../package.json' with { type: 'json' }
import { builtBinary } from '../support/binary.ts'
import { type ChrootOptions, freshDebian, inChroot, mayDebootstrap } from '../support/debian.ts'
import { putRelease } from './release.ts'
import { buildVariant } from './variant.ts'

const here = mayDebootstrap()
const { version } = packageJson
const USER = 1000
const NO_AVX2 = 'flags\t\t: fpu sse4_2 avx\n'
const AVX2 = 'flags\t\t: fpu sse4_2 avx avx2\n'

let older: string
beforeAll(async () => {
  if (!here) return
  older = buildVariant('0.0.1')
  // The first on a machine makes what all others stand on.
  await (await freshDebian())[Symbol.asyncDispose]()
}, 180_000)

/** Every name below a folder, with what would show a change. */
const treeOf = (root: string): string => {
  const folders = ['-type', 'd', '-printf', '%P %m %U\n']
  const others = ['-printf', '%P %m %U %s %T@ %l\n']
  const unlike = ['(', '-path', `${root}/proc`, '-o', '-path', `${root}/tmp`, ')', '-prune']
  return Bun.spawnSync(['find', root, ...unlike, '-o', ...folders, '-o', ...others]).stdout.toString()
}

for (const shell of [['dash'], ['busybox', 'sh']]) {
  describe.if(here)(`install.sh under ${shell.join(' ')}`, () => {
    let debian: Awaited<ReturnType<typeof freshDebian>>
    let root: string
    const path = (name: string) => join(debian.root, name)
    const exists = (name: string) => existsSync(path(name))
    const run = (args: string[], options?: ChrootOptions) =>
      inChroot(root, [...shell, '/opt/portcullis/install.sh', ...args], options)
    const asUser = (args: string[], options: ChrootOptions = {}) =>
      run(args, { ...options, uid: USER, env: { HOME: '/home/dev', ...options.env } })
    const installed = async (program: string) =>
      (JSON.parse((await inChroot(root, [program, 'version', '--json'])).stdout) as { version: string }).version
    /** A file of the release that a test may spoil. */
    const spoilt = (name: string, change: (bytes: Buffer) => void) => {
      const bytes = readFileSync(builtBinary())
      change(bytes)
      writeFileSync(path(name), bytes)
    }

    beforeAll(async () => {
      debian = await freshDebian()
      root = debian.root
      putRelease(root)
      copyFileSync(older, path('opt/older'))
      await inChroot(root, ['useradd', '--create-home', '--uid', String(USER), 'dev'])
    }, 60_000)
    afterAll(async () => {
      await debian?.[Symbol.asyncDispose]()
    })

    test('says how it is used, and refuses what it does not know, with nothing done', async () => {
      expect(await run(['--help'])).toMatchObject({ code: 0, stderr: '', stdout: expect.stringMatching(/^Usage:/) })
      const before = treeOf(root)
      for (const args of [['--prefx', '/opt'], ['--prefix'], ['elsewhere']]) {
        const { code, stderr } = await run(args)
        expect(code).toBe(2)
        expect(stderr).toContain('Usage:')
      }
      expect(treeOf(root)).toBe(before)
    })

    test('a dry run says what would be done, and changes no file', async () => {
      const before = treeOf(root)
      const { code, stdout, stderr } = await run(['--dry-run'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain('into /usr/local/bin')
      expect(treeOf(root)).toBe(before)
    })

    test('without root it goes to ~/.local, twice is once, and it is removed again', async () => {
      const first = await asUser([])
      expect(first.stderr).toBe('')
      expect(first.code).toBe(0)
      expect(first.stdout).toContain(`+ put portcullis ${version} into /home/dev/.local/bin`)
      expect(first.stdout).toContain('/home/dev/.local/bin is not in your PATH')
      expect(await installed('/home/dev/.local/bin/portcullis')).toBe(version)

      const before = treeOf(root)
      expect((await asUser([])).stdout).toContain(`= /home/dev/.local/bin/portcullis is ${version} already`)
      expect(treeOf(root)).toBe(before)

      const removed = await asUser(['--uninstall'])
      expect(removed).toMatchObject({ code: 0, stdout: '+ removed /home/dev/.local/bin/portcullis\n' })
      expect(exists('home/dev/.local/bin/portcullis')).toBe(false)
    })

    test('as root without systemd it installs the program alone, under a prefix with blanks too', async () => {
      const { code, stdout, stderr } = await run(['--prefix', '/opt/my own'])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      expect(stdout).toContain('No systemd runs here')
      expect(stdout).toContain("'/opt/my own/bin'/portcullis serve")
      expect(await installed('/opt/my own/bin/portcullis')).toBe(version)
      expect((await inChroot(root, ['id', 'portcullis'])).code).not.toBe(0)
      expect(exists('var/lib/portcullis')).toBe(false)
      expect(exists('etc/systemd/system/portcullis.service')).toBe(false)
    })

    test('what is not what its checksum says is not installed', async () => {
      const file = `opt/portcullis/portcullis-${version}-linux-x64`
      const bytes = readFileSync(path(file))
      writeFileSync(path(file), Buffer.concat([bytes, Buffer.from('x')]))
      const before = treeOf(root)
      const { code, stderr } = await run(['--prefix', '/opt/refused'])
      expect(code).toBe(1)
      expect(stderr).toContain('is not what /opt/portcullis/SHA256SUMS says')
      expect(stderr).toContain('Nothing was changed')
      expect(treeOf(root)).toBe(before)
      writeFileSync(path(file), bytes)

      const sums = readFileSync(path('opt/portcullis/SHA256SUMS'), 'utf8')
      writeFileSync(path('opt/portcullis/SHA256SUMS'), sums.replace('linux-x64', 'linux-arm64'))
      const unlisted = await run(['--prefix', '/opt/refused'])
      expect(unlisted.stderr).toContain('does not name portcullis-')
      expect(exists('opt/refused')).toBe(false)
      writeFileSync(path('opt/portcullis/SHA256SUMS'), sums)
    })

    test('what does not run here is not installed', async () => {
      const refused = async (what: string, says: string | RegExp) => {
        const { code, stderr } = await run(['--binary', '/opt/spoilt', '--prefix', '/opt/refused'])
        expect(code, what).toBe(1)
        expect(stderr, what).toMatch(says)
        expect(stderr, what).toContain('Nothing was changed')
        expect(exists('opt/refused'), what).toBe(false)
      }
      spoilt('opt/spoilt', (bytes) => bytes.writeUInt16LE(0xb7, 18))
      await refused('arm64', 'is for another processor; this one is x86_64')
      spoilt('opt/spoilt', (bytes) => bytes.write('/lib/ld-musl-x86_64.so.1\0', bytes.indexOf('/lib64/ld-linux')))
      await refused('musl', 'is for musl')
      spoilt('opt/spoilt', (bytes) => bytes.fill(0, 4096, 1_000_000))
      await refused('damaged', /does not run here|is not portcullis/)
      writeFileSync(path('opt/spoilt'), '#!/bin/sh\ntouch /ran\n', { mode: 0o755 })
      await refused('script', 'is not a program for Linux')
      expect(exists('ran')).toBe(false)
      copyFileSync(path('bin/true'), path('opt/spoilt'))
      await refused('true', 'is not portcullis')
      rmSync(path('opt/spoilt'))
      await refused('missing', 'there is no such file')
    })

    test('a folder that can not be written to, or not be run from, is said so', async () => {
      const under = (mounting: string) =>
        inChroot(root, ['sh', '-c', `${mounting} && exec ${shell.join(' ')} /opt/portcullis/install.sh --prefix /mnt`])
      const readOnly = await under('mount -t tmpfs -o ro none /mnt')
      expect(readOnly.code).toBe(1)
      expect(readOnly.stderr).toContain("/mnt/bin can't be made")
      const noexec = await under('mount -t tmpfs -o noexec none /mnt')
      expect(noexec.code).toBe(1)
      expect(noexec.stderr).toContain('noexec')
      // Where it was downloaded to, and /tmp, need not be.
      const elsewhere =
        'mount -t tmpfs -o noexec none /tmp && mount --bind /opt/portcullis /opt/portcullis && mount -o remount,bind,noexec /opt/portcullis'
      expect(await under(elsewhere)).toMatchObject({ code: 0, stderr: '' })
      expect((await asUser(['--prefix', '/usr/local'])).stderr).toContain("/usr/local/bin can't be written to")
    })

    test('it takes the file for this processor', async () => {
      const folder = 'opt/several'
      const dry = async (options: ChrootOptions) => {
        const script = [...shell, `/${folder}/install.sh`, '--dry-run']
        const { stdout, stderr } = await inChroot(root, script, options)
        return /checked (\S+)|Looked for: .*/.exec(stdout + stderr)?.[1] ?? stderr
      }
      // Their heads will do: what is not executable is not tried by a dry run.
      const head = readFileSync(builtBinary()).subarray(0, 8192)
      const put = async (...targets: string[]) => {
        for (const target of targets) writeFileSync(path(`${folder}/portcullis-${version}-${target}`), head)
        await Bun.$`sh -c 'sha256sum portcullis-* > SHA256SUMS'`.cwd(path(folder))
      }
      mkdirSync(path(folder))
      copyFileSync(path('opt/portcullis/install.sh'), path(`${folder}/install.sh`))
      await put('linux-x64-baseline', 'linux-x64-musl', 'linux-arm64')
      expect(await dry({ cpuinfo: AVX2 })).toBe(`portcullis-${version}-linux-x64-baseline`)
      await put('linux-x64')
      expect(await dry({ cpuinfo: AVX2 })).toBe(`portcullis-${version}-linux-x64`)
      expect(await dry({ cpuinfo: NO_AVX2 })).toBe(`portcullis-${version}-linux-x64-baseline`)

      // A machine of another kind, as far as the script can tell.
      mkdirSync(path('opt/fake'), { recursive: true })
      const fake = (name: string, prints: string) => {
        writeFileSync(path(`opt/fake/${name}`), `#!/bin/sh\n${prints}\n`)
        chmodSync(path(`opt/fake/${name}`), 0o755)
      }
      const env = { PATH: '/opt/fake:/usr/bin:/bin' }
      fake('ldd', 'echo "musl libc (x86_64)" >&2; exit 1')
      expect(await dry({ cpuinfo: AVX2, env })).toBe(`portcullis-${version}-linux-x64-musl`)
      fake('uname', '[ "$1" = -m ] && echo aarch64 || echo Linux')
      expect(await dry({ env })).toContain('portcullis-VERSION-linux-arm64-musl')
      rmSync(path('opt/fake/ldd'))
      expect(await dry({ env })).toBe(`portcullis-${version}-linux-arm64`)
    })

    test('an older version is refused, unless it is meant, and keeps what it replaces', async () => {
      const prefix = ['--prefix', '/opt/versions']
      await run(prefix)
      const refused = await run(['--binary', '/opt/older', ...prefix])
      expect(refused.code).toBe(1)
      expect(refused.stderr).toContain(`0.0.1 is older than the ${version}`)
      expect(await installed('/opt/versions/bin/portcullis')).toBe(version)
      expect((await run(['--binary', '/opt/older', '--force', ...prefix])).code).toBe(0)
      expect(await installed('/opt/versions/bin/portcullis')).toBe('0.0.1')
      expect(await installed('/opt/versions/bin/portcullis.previous')).toBe(version)

      // The other way round it is an upgrade; and back again from what was kept.
      expect((await run(prefix)).stdout).toContain('kept the program that was there (0.0.1)')
      expect((await run(['--binary', '/opt/versions/bin/portcullis.previous', '--force', ...prefix])).code).toBe(0)
      expect(await installed('/opt/versions/bin/portcullis')).toBe('0.0.1')
      expect(await installed('/opt/versions/bin/portcullis.previous')).toBe(version)
      expect((await Bun.$`ls -A ${path('opt/versions/bin')}`.text()).trim().split('\n')).toEqual([
        'portcullis',
        'portcullis.previous',
      ])
      await run(['--uninstall', ...prefix])
      expect(await Bun.$`ls -A ${path('opt/versions/bin')}`.text()).toBe('')
    })

    test('in a checkout it builds, and says what it lacks', async () => {
      const checkout = path('opt/checkout')
      mkdirSync(join(checkout, 'src'), { recursive: true })
      writeFileSync(join(checkout, 'package.json'), '{}')
      copyFileSync(path('opt/portcullis/install.sh'), join(checkout, 'install.sh'))
      await Bun.$`chown -R ${USER} ${checkout}`
      const install = (args: string[], options?: ChrootOptions) =>
        inChroot(root, [...shell, '/opt/checkout/install.sh', ...args], options)
      const lacking = await install(['--prefix', '/opt/refused'])
      expect(lacking.code).toBe(1)
      expect(lacking.stderr).toContain('needs Node with npm')
      expect(exists('opt/refused')).toBe(false)

      mkdirSync(path('opt/node'))
      const npm = '#!/bin/sh\necho "$*" "$(id -u)" > npm-ran\n[ ! -e broken ] || { echo no space left; exit 1; }\n'
      const builds = `mkdir -p dist && cp /opt/portcullis/portcullis-* dist/portcullis\n`
      writeFileSync(path('opt/node/npm'), npm + builds)
      chmodSync(path('opt/node/npm'), 0o755)
      const env = { PATH: '/opt/node:/usr/bin:/bin' }
      const built = await install(['--prefix', '/opt/built'], { env })
      expect(built).toMatchObject({ code: 0, stderr: '' })
      expect(built.stdout).toContain('+ built from /opt/checkout (npm run build)')
      // Not as root: the checkout is another's.
      expect(readFileSync(join(checkout, 'npm-ran'), 'utf8')).toBe(`run build ${USER}\n`)
      expect(await installed('/opt/built/bin/portcullis')).toBe(version)

      writeFileSync(join(checkout, 'broken'), '')
      const broken = await install(['--prefix', '/opt/refused'], { env })
      expect(broken.code).toBe(1)
      expect(broken.stderr).toContain('no space left')
    })

    test('data stays when it is removed, and goes only after the typed word', async () => {
      const file = 'home/dev/.local/state/portcullis/portcullis.db'
      mkdirSync(path('home/dev/.local/state/portcullis'), { recursive: true })
      writeFileSync(path(file), 'tokens')
      await Bun.$`chown -R ${USER} ${path('home/dev/.local')}`
      await asUser([])
      const removed = await asUser(['--uninstall'])
      expect(removed.stdout).toContain('= /home/dev/.local/state/portcullis: settings, tokens')
      await asUser([])
      for (const input of ['', 'y\n', 'Purge\n', 'purge it\n']) {
        const refused = await asUser(['--purge'], { input })
        expect(refused.code).toBe(1)
        expect(refused.stdout).toContain('backup FILE')
        expect(refused.stderr).toContain('Nothing was changed')
      }
      expect((await asUser(['--purge', '--dry-run'])).code).toBe(0)
      expect([exists(file), exists('home/dev/.local/bin/portcullis')]).toEqual([true, true])
      expect((await asUser(['--purge'], { input: 'purge\n' })).code).toBe(0)
      expect([exists(file), exists('home/dev/.local/bin/portcullis')]).toEqual([false, false])
    })
  })
}

test.if(here)('it needs no more than what busybox has', async () => {
  await using debian = await freshDebian()
  putRelease(debian.root)
  await inChroot(debian.root, ['sh', '-c', 'mkdir /bb && busybox --install -s /bb'])
  const env = { PATH: '/bb' }
  const install = ['/bb/sh', '/opt/portcullis/install.sh', '--prefix', '/opt/bb']
  const { code, stdout, stderr } = await inChroot(debian.root, install, { env })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toContain('+ checked')
  expect((await inChroot(debian.root, [...install, '--uninstall'], { env })).code).toBe(0)
})
