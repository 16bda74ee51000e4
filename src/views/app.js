const toMinutes = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const toSeconds = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** Turns UTC into the reader's own time, once; the UTC text stays as the title. */
const localise = (root) => {
  for (const time of root.querySelectorAll('time[datetime]:not([data-keep]):not([title])')) {
    time.title = time.textContent
    time.textContent = ('exact' in time.dataset ? toSeconds : toMinutes).format(new Date(time.dateTime))
  }
}

const stale = document.querySelector('#stale')
const dialog = document.querySelector('#confirm')
const isPoll = ({ detail }) => detail.ctx?.sourceElement?.id === 'live'

localise(document)
document.documentElement.classList.add('scripted')

// Outside of every list, so that no refresh takes what it says.
const said = document.createElement('p')
said.className = 'unseen'
said.role = 'status'
document.body.append(said)

const copy = async (source) => {
  try {
    await navigator.clipboard.writeText(source.textContent)
    return true
  } catch {
    // Browsers give the clipboard to https and localhost alone; elsewhere there is the old way, or the reader's own.
    getSelection().selectAllChildren(source)
    return document.execCommand('copy')
  }
}
document.addEventListener('click', async ({ target }) => {
  const button = target.closest('[data-copy]')
  if (!button) return
  const isCopied = await copy(document.getElementById(button.dataset.copy))
  said.textContent = isCopied ? 'Copied' : 'Selected, not copied'
  button.textContent = isCopied ? 'Copied' : 'Selected'
  setTimeout(() => {
    said.textContent = ''
    button.textContent = 'Copy'
  }, 2_000)
})

// The browser drops the answer to the first of two submits, and with it what is shown once.
let onceAt = -Infinity
document.addEventListener('submit', (event) => {
  if (!event.target.hasAttribute('data-once')) return
  if (event.timeStamp - onceAt < 5_000) event.preventDefault()
  else onceAt = event.timeStamp
})

// Before the swap, so that a time that did not change is not touched, and neither is a selection in it.
document.addEventListener('htmx:before:swap', ({ detail }) => {
  for (const { fragment } of detail.tasks) localise(fragment)
})

// A tab that nobody sees asks nothing: it would keep its session alive for ever.
document.addEventListener('htmx:before:request', (event) => {
  if (document.hidden && isPoll(event)) event.preventDefault()
})
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && stale) htmx.trigger('#live', 'refresh')
})

const mark = (isStale) => (event) => {
  if (stale && isPoll(event)) stale.hidden = !isStale
}
document.addEventListener('htmx:after:swap', mark(false))
document.addEventListener('htmx:error', mark(true))
document.addEventListener('htmx:response:error', mark(true))

if (dialog) {
  document.addEventListener('htmx:after:swap', () => {
    if (dialog.childElementCount > 0 && !dialog.open) dialog.showModal()
  })
  dialog.addEventListener('close', () => dialog.replaceChildren())
  dialog.addEventListener('click', (event) => {
    if (!event.target.closest('[data-close]')) return
    event.preventDefault()
    dialog.close()
  })
}
