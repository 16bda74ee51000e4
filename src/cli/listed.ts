import { partsOf } from '../text.ts'

/** `a,b` and repeated flags alike, as one list. */
export const listed = (value: string, previous: string[] = []): string[] => [...previous, ...partsOf(value)]
