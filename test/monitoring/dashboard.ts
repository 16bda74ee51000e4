import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DOCS } from './rules.ts'

export interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  datasource?: { type: string; uid: string }
  targets?: { expr: string; datasource: { uid: string } }[]
}

export interface Dashboard {
  __inputs: { name: string; pluginId: string }[]
  __requires: { type: string; id: string }[]
  id: null
  uid: string
  title: string
  panels: Panel[]
  annotations: { list: { expr: string; datasource: { uid: string } }[] }
  templating: { list: { name: string; definition: string; datasource: { uid: string } }[] }
}

export const dashboard = JSON.parse(readFileSync(join(DOCS, 'monitoring/dashboard.json'), 'utf8')) as Dashboard

/** What Grafana puts in place of its variables. */
const filled = (expr: string): string => expr.replaceAll('$instance', '.+').replaceAll(/\$__(?:rate_)?interval/g, '1m')

/** Every expression, by where it stands. */
export const expressions: [where: string, expr: string][] = [
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }): [string, string] => [title, filled(expr)]),
  ),
  ...dashboard.annotations.list.map(({ expr }): [string, string] => ['annotations', filled(expr)]),
]
