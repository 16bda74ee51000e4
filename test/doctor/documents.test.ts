import { expect, test } from 'bun:test'
import { CHECKS } from '../../src/doctor/doctor.ts'
import { HELPERS } from '../docs/world.ts'
import { expectShown, runGuide } from '../support/guide.ts'
import { readPage } from '../support/markdown.ts'

test('the page about doctor explains every check, and no other', () => {
  const { headings } = readPage('docs/doctor.md')
  expect(headings.slice(headings.indexOf('What each check means') + 1)).toEqual(Object.keys(CHECKS))
})

test('doctor finds what its page shows', async () => {
  const ran = await runGuide('docs/doctor.md', {
    before: `${HELPERS}
      upstream 3001; node
      portcullis server add github http://127.0.0.1:3001`,
    scenes: {
      'When something is wrong': {
        before: 'chmod 644 ~/.local/state/portcullis/portcullis.key',
        after: 'chmod 600 ~/.local/state/portcullis/portcullis.key',
      },
    },
  })
  expectShown(ran)
}, 60_000)

test('every way back in goes as it is told', async () => {
  const ran = await runGuide('docs/locked-out.md', {
    before: `${HELPERS}
      node
      sign_in() { curl -s -o /dev/null -w '%{http_code}' -H 'Sec-Fetch-Site: same-origin' --data-urlencode "name=$1" --data-urlencode "password=$2" http://127.0.0.1:7071/sign-in; }`,
    scenes: {
      'The first owner, on a machine without a browser': {
        // Opened, and not used: the next command voids it.
        after: `old=$(grep -o 'http.*code=.*' "$printed"); is "$(curl -s -o /dev/null -w '%{http_code}' "$old")" 200`,
      },
      'The first owner, without any browser': {
        after: `is "$(curl -s -o /dev/null -w '%{http_code}' "$old")" 403
          is "$(sign_in ada "$PASSWORD")" 303; first=$PASSWORD; not portcullis setup`,
      },
      'The password is forgotten': {
        after: `is "$(sign_in ada "$PASSWORD")" 303; is "$(sign_in ada "$first")" 401
          grep -q 'operator.link .*ada' "$printed"; grep -q 'operator.password .*ada' "$printed"`,
      },
      'The only owner is gone': {
        after: `not portcullis operator rm ada; link=$(grep -o 'http.*code=.*' "$printed")
          is "$(curl -s -o /dev/null -w '%{http_code}' -H 'Origin: http://127.0.0.1:7071' -d "code=\${link##*code=}&password=correct-horse&again=correct-horse" http://127.0.0.1:7071/setup)" 303`,
      },
      'Then the old one can go': {
        after: `is "$(sign_in ada "$PASSWORD")" 401; is "$(sign_in grace correct-horse)" 303; portcullis doctor`,
      },
    },
  })
  expectShown(ran)
}, 60_000)
