import { Database } from 'bun:sqlite'

/** What somebody with the rights of the node could do to its audit log behind its back. */
const database = new Database(process.argv[2] as string)
for (const { name } of database.query("SELECT name FROM sqlite_master WHERE type = 'trigger'").all() as {
  name: string
}[]) {
  database.run(`DROP TRIGGER "${name}"`)
}
database.run("UPDATE audit SET actor = 'local:12345' WHERE sequence = 3")
database.close()
