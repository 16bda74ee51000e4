import { describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hasPrometheus, promtool } from '../support/prometheus.ts'
import { tempFolder } from '../support/temp.ts'
import { ALERTS, readAlerts, rules } from './rules.ts'
import { type Scene, SCENES } from './scenes.ts'

const here = hasPrometheus()

/** Their words are looked at elsewhere: promtool compares them to the letter. */
const withoutWords = () => ({
  groups: readAlerts().groups.map(({ name, rules: own }) => ({
    name,
    rules: own.map(({ alert, expr, for: wait = '0s', labels }) => ({ alert, expr, for: wait, labels })),
  })),
})

/** In promtool's words. Whatever else fires in a scene is none of its business. */
const unitTest = ({ alert, input, at, fires }: Scene) => {
  const { labels } = rules.find((rule) => rule.alert === alert) ?? {}
  const instance = Object.keys(input).length > 0 ? { instance: 'node:7071' } : {}
  return {
    interval: '1m',
    input_series: Object.entries(input).map(([series, values]) => ({ series, values })),
    alert_rule_test: [
      {
        eval_time: at,
        alertname: alert,
        exp_alerts: fires ? [{ exp_labels: { ...labels, job: 'portcullis', ...instance } }] : [],
      },
    ],
  }
}

const verdictOn = (tests: Scene[]) => {
  const folder = tempFolder()
  writeFileSync(join(folder, 'alerts.yml'), JSON.stringify(withoutWords()))
  const file = join(folder, 'tests.yml')
  const text = { rule_files: ['alerts.yml'], evaluation_interval: '1m', tests: tests.map(unitTest) }
  writeFileSync(file, JSON.stringify(text))
  return promtool(['test', 'rules', file])
}

test.if(here)('promtool accepts the rules', async () => {
  const { code, said } = await promtool(['check', 'rules', ALERTS])
  expect([code, said]).toEqual([
    0,
    expect.stringContaining(`SUCCESS: ${rules.length} rules found`) as unknown as string,
  ])
})

describe.if(here)('fires when it must, and only then', () => {
  test.each(rules.map(({ alert }) => alert))('%s', async (alert) => {
    const own = SCENES.filter((scene) => scene.alert === alert)
    expect(own.map(({ fires }) => fires)).toEqual(expect.arrayContaining([true, false]))
    const { code, said } = await verdictOn(own)
    // One by one only where something is wrong: it costs a process each.
    const wrong = code === 0 ? [] : await Promise.all(own.map(async (scene) => [scene.what, await verdictOn([scene])]))
    expect(wrong).toEqual([])
    expect([code, said]).toEqual([0, expect.stringContaining('SUCCESS') as unknown as string])
  })

  test('and a scene that is told wrongly is found', async () => {
    const wrong = SCENES.map((scene) => ({ ...scene, fires: !scene.fires }))
    const { code } = await verdictOn(wrong.slice(0, 1))
    expect(code).toBe(1)
  })
})

test('every scene is of an alert that there is', () => {
  const names = new Set(rules.map(({ alert }) => alert))
  expect(SCENES.filter(({ alert }) => !names.has(alert))).toEqual([])
})
