import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const LOADER = '/lib/ld-musl-x86_64.so.1'
const LIBC = '/usr/lib/x86_64-linux-musl/libc.so'
const GCC = '/usr/lib/gcc/x86_64-linux-gnu/12'

/** What the C++ library was compiled to find in glibc, and musl has not. */
const SHIM = `
long syscall(long, ...);
char __libc_single_threaded = 0;
int _dl_find_object(void *address, void *result) { return -1; }
unsigned arc4random(void) { unsigned number = 0; syscall(318, &number, sizeof number, 0); return number; }
`
/** Of the C++ library the executable wants little; all of it would want more of glibc. */
const WANTED = /^(?:_Z|__cxa_|__dynamic_cast|__once_)/
const FROM_LIBC = ['__cxa_finalize', '__cxa_thread_atexit_impl']

/** Whether the musl executables can be run here: Debian has musl, and a C++ library that can be linked to it. */
export const mayRunMusl = (): boolean => {
  const lacking = [LOADER, LIBC, `${GCC}/libstdc++_pic.a`, `${GCC}/crtbeginS.o`].filter((file) => !existsSync(file))
  if (!Bun.which('gcc')) lacking.push('gcc')
  if (lacking.length === 0) return true
  if (process.env['CI']) throw new Error(`the musl executables can't be run in CI without ${lacking.join(', ')}`)
  console.warn(`SKIPPED LOUDLY: the musl executables are not run: ${lacking.join(', ')} is missing`)
  return false
}

/**
 * Alpine's libstdc++ can't be had on a Debian, so one is linked from Debian's own archive: the same code, for musl.
 * Returns the folder that it lies in.
 */
export const muslLibraries = async (executable: string, folder: string): Promise<string> => {
  const shim = join(folder, 'shim.c')
  writeFileSync(shim, SHIM)
  const symbols = (await Bun.$`nm --dynamic --undefined-only ${executable}`.text())
    .split('\n')
    .map((line) => line.trim().split(' ').at(-1) ?? '')
    .filter((symbol) => WANTED.test(symbol) && !FROM_LIBC.includes(symbol))
  // The executable has a copy of this one, for which the linker wants an original.
  const wanted = [...symbols, '_ZTVN10__cxxabiv121__vmi_class_type_infoE'].map((symbol) => `-Wl,-u,${symbol}`)
  await Bun.$`gcc -shared -fPIC -nostdlib -o ${folder}/libstdc++.so.6 -Wl,-soname,libstdc++.so.6 ${wanted} \
    ${GCC}/crtbeginS.o ${shim} ${GCC}/libstdc++_pic.a ${GCC}/libgcc.a ${GCC}/libgcc_eh.a ${LIBC} ${GCC}/crtendS.o \
    -Wl,--unresolved-symbols=ignore-all`.quiet()
  return folder
}
