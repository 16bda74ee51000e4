import { join } from 'node:path'
import { buildExecutable, ROOT } from './executable.ts'

buildExecutable(join(ROOT, 'dist/portcullis'))
