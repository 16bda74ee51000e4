import { code, page, table } from './markdown.ts'

interface File {
  /** As it is shown; `*` stands for anything. */
  name: string
  mode: string
  what: string
  backup: 'yes' | 'no'
  mayGo: string
}

/** Every file that a node leaves in its data folder. */
export const FILES: File[] = [
  {
    name: 'portcullis.db',
    mode: '0600',
    what: 'The database (SQLite): servers, tokens, revocations, the audit log, usage. No secret of a token is in it.',
    backup: 'yes',
    mayGo: '**No.** All tokens are in it.',
  },
  {
    name: 'portcullis.db-wal',
    mode: '0600',
    what: 'What was written last and is not in the database file yet. It belongs to it.',
    backup: 'yes',
    mayGo: '**No.** The last revocations may be in it. Never copy the database without it.',
  },
  {
    name: 'portcullis.db-shm',
    mode: '0600',
    what: 'An index of the -wal.',
    backup: 'no',
    mayGo: 'When stopped: it is made anew.',
  },
  {
    name: 'portcullis.key',
    mode: '0600',
    what: 'The ring of keys. Without it no token can be checked, and no credential of a server be read. `--key-file` puts it elsewhere.',
    backup: 'yes',
    mayGo: '**No.** Keep a copy elsewhere.',
  },
  {
    name: 'portcullis.journal',
    mode: '0600',
    what: 'Room that is set aside, so that a revocation holds over a restart when the disk is full.',
    backup: 'no',
    mayGo: 'When stopped, and it was ready before: it is made anew.',
  },
  {
    name: 'portcullis.lock',
    mode: '0600',
    what: 'Held by the running node, so that no second one starts.',
    backup: 'no',
    mayGo: 'When stopped.',
  },
  {
    name: 'control.sock',
    mode: '0600',
    what: 'Where the command line talks to the node. Who may open it is an owner.',
    backup: 'no',
    mayGo: 'When stopped: it is made anew.',
  },
  {
    name: 'portcullis.toml',
    mode: 'yours',
    what: 'Your [settings](settings.md), if you make it.',
    backup: 'yes',
    mayGo: 'If you mean it.',
  },
  {
    name: 'stdio',
    mode: '0700',
    what: 'Folders that [servers that are commands](../stdio.md) work in, each named by its server’s id. What is in them is theirs.',
    backup: 'no',
    mayGo: 'When stopped: each is made anew, and what its server kept there is gone.',
  },
  {
    name: 'portcullis.db.before-*',
    mode: '0600',
    what: 'The database as it was before an [upgrade](../upgrade.md) or a [restore](../backup.md).',
    backup: 'no',
    mayGo: 'Yes, when the new version runs well.',
  },
  {
    name: '*.tmp*',
    mode: '0600',
    what: 'What a backup, a restore or a change is about to write; there for a moment, or left by a crash.',
    backup: 'no',
    mayGo: 'Leave it: the next start removes it, or says what to do.',
  },
]

export const files = (): string =>
  page(
    'Files',
    'A node keeps everything in one folder, which only its own user may enter (0700):',
    '- `$XDG_STATE_HOME/portcullis`, else `~/.local/state/portcullis`, for `portcullis serve`;\n' +
      '- the same with `-demo` at its end for `portcullis demo`;\n' +
      '- `/var/lib/portcullis` when it was [installed as a service](../install.md);\n' +
      '- `/data` [in a container](../docker.md);\n' +
      '- or what `--data` says.',
    table(
      ['file', 'mode', 'what it is', 'in a backup', 'may it be deleted'],
      FILES.map(({ name, mode, what, backup, mayGo }) => [code(name), mode, what, backup, mayGo]),
    ),
    'It writes nowhere else, but what a command is told to write (`backup FILE`), and the log, to stderr. For a server that is run\n' +
      'as another user (`--user`) it makes `.portcullis` in that user’s home. What such servers write is their own business.',
  )
