import { closeSync, openSync, readSync } from 'node:fs'

const ELF = 0x7f454c46
const MACH_O_64 = 0xfeedfacf
const ELF_MACHINES: Record<number, string> = { 0x3e: 'x64', 0xb7: 'arm64' }
const MACH_O_MACHINES: Record<number, string> = { 0x0100_0007: 'x64', 0x0100_000c: 'arm64' }
const PROGRAM_INTERPRETER = 3

/** What kind of machine an executable is for, as its header says: `ELF arm64 /lib/ld-linux-aarch64.so.1`. */
export const machineOf = (file: string): string => {
  const head = Buffer.alloc(4096)
  const descriptor = openSync(file, 'r')
  readSync(descriptor, head, 0, head.length, 0)
  closeSync(descriptor)
  if (head.readUInt32LE(0) === MACH_O_64) return `Mach-O ${MACH_O_MACHINES[head.readUInt32LE(4)]}`
  if (head.readUInt32BE(0) !== ELF) return 'no executable'
  const [headersAt, headerBytes, headers] = [
    Number(head.readBigUInt64LE(32)),
    head.readUInt16LE(54),
    head.readUInt16LE(56),
  ]
  for (let at = headersAt; at < headersAt + headers * headerBytes; at += headerBytes) {
    if (head.readUInt32LE(at) !== PROGRAM_INTERPRETER) continue
    const [from, bytes] = [Number(head.readBigUInt64LE(at + 8)), Number(head.readBigUInt64LE(at + 32))]
    return `ELF ${ELF_MACHINES[head.readUInt16LE(18)]} ${head.toString('latin1', from, from + bytes - 1)}`
  }
  return `ELF ${ELF_MACHINES[head.readUInt16LE(18)]}`
}
