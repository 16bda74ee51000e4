import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export const DOCS = join(import.meta.dir, '../../docs')
export const ALERTS = join(DOCS, 'monitoring/alerts.yml')

export interface Rule {
  alert: string
  expr: string
  for?: string
  labels: { severity: 'critical' | 'warning' | 'info' }
  annotations: { summary: string; description: string; runbook: string }
}

export interface RuleFile {
  groups: { name: string; rules: Rule[] }[]
}

export const readAlerts = (): RuleFile => Bun.YAML.parse(readFileSync(ALERTS, 'utf8')) as RuleFile
export const rules = readAlerts().groups.flatMap((group) => group.rules)
