import { dlopen, ptr } from 'bun:ffi'
import { readdirSync } from 'node:fs'

// Linux, on every processor that this is built for.
const AF_INET = 2
const AF_INET6 = 10
const SOL_SOCKET = 1
const SO_ACCEPTCONN = 30
const SO_ATTACH_REUSEPORT_CBPF = 51
/** `return 1`, as a classic BPF program (BPF_RET | BPF_K): the second listener of a port, counted from 0. */
const SECOND = new Uint32Array([0x06, 1])

const LIBRARIES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1']

const openLibrary = (name: string) =>
  dlopen(name, {
    getsockname: { args: ['int', 'ptr', 'ptr'], returns: 'int' },
    getsockopt: { args: ['int', 'int', 'int', 'ptr', 'ptr'], returns: 'int' },
    setsockopt: { args: ['int', 'int', 'int', 'ptr', 'u32'], returns: 'int' },
  }).symbols
type Library = ReturnType<typeof openLibrary>

const library = (): Library | null => {
  if (process.platform !== 'linux') return null
  for (const name of LIBRARIES) {
    try {
      return openLibrary(name)
    } catch {
      // This system has another one.
    }
  }
  return null
}

const isListener = (libc: Library, fd: number, port: number): boolean => {
  const [value, size] = [new Int32Array(1), new Uint32Array([4])]
  if (libc.getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, ptr(value), ptr(size)) !== 0 || value[0] === 0) return false
  // A sockaddr_in6 is the largest; of all of them the port stands behind the family, in network order.
  const [address, length] = [new Uint8Array(28), new Uint32Array([28])]
  if (libc.getsockname(fd, ptr(address), ptr(length)) !== 0) return false
  const view = new DataView(address.buffer)
  // The control socket has a path there instead, whose first letters are a number too.
  return [AF_INET, AF_INET6].includes(view.getUint16(0, true)) && view.getUint16(2) === port
}

/**
 * Where two listeners of this process share a port (SO_REUSEPORT), new connections go to the second alone from here
 * on: closing the first would reset what still waits to be accepted by it. The runtime has no way to say this. Where
 * the first is closed all the same, the one that stays gets all. Returns whether it could be said.
 */
export const preferSecond = (port: number): boolean => {
  const libc = library()
  if (!libc) return false
  const program = new BigUint64Array([1n, BigInt(ptr(SECOND))])
  const listeners = readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => isListener(libc, fd, port))
  // What one of a group is told holds for all. A group on another address has no second, and goes on as it was.
  const told = listeners.map((fd) => libc.setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, ptr(program), 16))
  return told.length > 1 && told.every((result) => result === 0)
}
