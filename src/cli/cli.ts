import type { Command } from 'commander'
import { Client } from './client.ts'
import { EXIT } from './exit.ts'
import type { Hooks } from './hooks.ts'
import { type Globals, locate } from './locate.ts'
import { say, toJson, writeRaw } from './output.ts'

/** One run of the command line, as its commands see it. */
export class Cli {
  /** What to exit with when nothing is thrown. */
  exitCode: number = EXIT.done

  constructor(
    private readonly program: Command,
    readonly argv: string[],
    readonly hooks: Hooks,
  ) {}

  get globals(): Globals {
    return this.program.opts<Globals>()
  }

  get json(): boolean {
    return this.globals.json ?? false
  }

  client(): Client {
    return new Client(locate(this.globals, this.argv, () => this.hooks.defaultDataFolders()))
  }

  /** The document itself with `--json`, else the text made of it. */
  async print(document: unknown, text: () => string): Promise<void> {
    if (this.json) await writeRaw(`${toJson(document, 2)}\n`)
    else await say(text())
  }
}
