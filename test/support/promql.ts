/** What an expression of PromQL selects: a metric, and what its labels must be. */
export interface Selector {
  metric: string
  matchers: Matcher[]
}

interface Matcher {
  label: string
  op: '=' | '!=' | '=~' | '!~'
  value: string
}

const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset', 'by', 'without', 'on', 'ignoring', 'group_left'])
/** Labels in brackets after these words. */
const GROUPING = /\b(?:by|without|on|ignoring|group_left)\s*\(([^)]*)\)/g
/** A text, a number, or a name with what stands in braces, and the bracket that makes a function of it. */
const TOKEN = /"[^"]*"|\d[\w.]*|([a-zA-Z_]\w*)(?:\{([^}]*)\})?(\s*\()?/g

/** Every selector of an expression. Its grammar is Prometheus's to check; this only finds names. */
export const selectorsIn = (expr: string): Selector[] => {
  const bare = expr.replaceAll(GROUPING, ' ').replaceAll(/\[[^\]]*\]/g, ' ')
  return [...bare.matchAll(TOKEN)].flatMap(([, metric, inside = '', called]) => {
    if (metric === undefined || called !== undefined || WORDS.has(metric)) return []
    const matchers = [...inside.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"/g)].map(
      ([, label = '', op, value = '']) => ({
        label,
        op: op as Matcher['op'],
        value,
      }),
    )
    return [{ metric, matchers }]
  })
}

/** Labels that an expression groups by. */
export const groupedBy = (expr: string): string[] =>
  [...expr.matchAll(GROUPING)].flatMap(([, labels = '']) => labels.split(',').map((label) => label.trim()))

export const matches = ({ matchers }: Selector, labels: Readonly<Record<string, string>>): boolean =>
  matchers.every(({ label, op, value }) => {
    const own = labels[label] ?? ''
    const same = op === '=' || op === '!=' ? own === value : new RegExp(`^(?:${value})$`).test(own)
    return op.startsWith('!') ? !same : same
  })
