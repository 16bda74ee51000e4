const toMinutes = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' })
const toSeconds = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
const toClock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' })

const find = (selector, root = document) => root.querySelector(selector)
const asking = find('form[action="/find"]')

/** Turns UTC into the reader's own time, once; the UTC text stays as the title. */
const localise = (root) => {
  for (const time of root.querySelectorAll('time[datetime]:not([data-keep]):not([title])')) {
    time.title = time.textContent
    time.textContent = ('exact' in time.dataset ? toSeconds : toMinutes).format(new Date(time.dateTime))
  }
}
localise(document)
document.documentElement.classList.add('scripted')

// Outside of everything that is refreshed, so that no refresh takes what it says.
const said = document.createElement('p')
said.className = 'unseen'
said.role = 'status'
document.body.append(said)

// ---- Times that people type: in their own zone here, in UTC as text where no script runs, and always sent in UTC

for (const field of document.querySelectorAll('input[data-time]')) {
  const at = new Date(field.value)
  field.value = ''
  field.type = 'datetime-local'
  if (!Number.isNaN(at.getTime()))
    field.value = new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16)
  find('.zone', field.closest('label')).textContent = 'your time'
}
document.addEventListener('formdata', ({ target, formData }) => {
  for (const { name, value } of target.querySelectorAll('input[data-time]'))
    if (value) formData.set(name, new Date(value).toISOString())
})

// ---- Copying

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

// ---- Forms: sent once, and what takes long says so

/** The browser drops the answer to the first of two submits, and with it what is shown once. */
let onceAt = -Infinity
let slow
const busy = (isBusy) => {
  clearTimeout(slow)
  document.documentElement.classList.remove('busy')
  if (!isBusy) return
  slow = setTimeout(() => {
    document.documentElement.classList.add('busy')
    said.textContent = 'Working'
  }, 500)
}
document.addEventListener('submit', (event) => {
  if (event.target.hasAttribute('data-once')) {
    if (event.timeStamp - onceAt < 5_000) event.preventDefault()
    else onceAt = event.timeStamp
  }
  if (!event.defaultPrevented && event.target !== asking) busy(true)
})
// A page that comes back out of the browser's memory waits for nothing any more.
addEventListener('pageshow', () => {
  onceAt = -Infinity
  busy(false)
})
// A key that is held down answers no question that it has only just opened.
document.addEventListener(
  'keydown',
  (event) => {
    if (event.repeat && event.key === 'Enter') event.preventDefault()
  },
  true,
)

// ---- What a page fetches of itself again and again

const stale = find('#stale')
const isLive = ({ detail }) => detail.ctx?.sourceElement?.id === 'live'
let freshAt = Date.now()
let isLost = false

const say = (text) => {
  stale.textContent = text
  stale.hidden = text === ''
}
const lost = (event) => {
  if (!isLive(event)) return
  isLost = true
  say(`The console does not answer: what stands here is as of ${toClock.format(freshAt)}. It is tried again by itself.`)
}
const fresh = (event) => {
  if (!isLive(event)) return
  freshAt = Date.now()
  say('')
  if (isLost) said.textContent = 'The console answers again, and the page is up to date'
  isLost = false
}
document.addEventListener('htmx:after:swap', fresh)
document.addEventListener('htmx:error', lost)
// A failure is no page to put in here. Who is signed out is led away by the answer's own header.
document.addEventListener('htmx:before:response', (event) => {
  const { status } = event.detail.ctx.response
  if (!isLive(event) || status < 400 || status === 401) return
  event.preventDefault()
  if (status === 404) location.reload()
  else lost(event)
})

// A tab that nobody sees asks nothing; one that wakes says how old it is until it is fresh again.
document.addEventListener('htmx:before:request', (event) => {
  if (isLive(event)) {
    if (document.hidden) event.preventDefault()
  } else if (event.detail.ctx?.sourceElement !== asking) busy(true)
})
document.addEventListener('htmx:finally:request', (event) => {
  if (!isLive(event)) busy(false)
})
document.addEventListener('visibilitychange', () => {
  if (document.hidden || !find('#live')) return
  if (Date.now() - freshAt > 10_000) say(`This page slept: what stands here is as of ${toClock.format(freshAt)}.`)
  htmx.trigger('#live', 'refresh')
})

// Before the swap, so that a time that did not change is not touched, and neither is a selection in it.
document.addEventListener('htmx:before:swap', ({ detail }) => {
  for (const { fragment } of detail.tasks) localise(fragment)
})

/** Written as `left` in time.tsx does. */
const two = (n) => String(n).padStart(2, '0')
const leftText = (ms) => {
  const seconds = Math.ceil(Math.max(0, ms) / 1_000)
  const [days, hours, minutes] = [86_400, 3_600, 60].map((unit) => Math.floor(seconds / unit))
  const clock = `${minutes % 60}:${two(seconds % 60)}`
  if (hours === 0) return clock
  const long = `${hours % 24}:${two(minutes % 60)}:${two(seconds % 60)}`
  return days === 0 ? long : `${days} d ${long}`
}
// By how much was left when the page was made: the reader's clock may be wrong.
const ends = new WeakMap()
setInterval(() => {
  for (const time of document.querySelectorAll('time[data-left]')) {
    const known = ends.get(time)
    const end = known?.left === time.dataset.left ? known.end : performance.now() + Number(time.dataset.left)
    ends.set(time, { left: time.dataset.left, end })
    time.textContent = leftText(end - performance.now())
  }
}, 1_000)

// ---- The confirmation

const confirm = find('#confirm')
if (confirm) {
  document.addEventListener('htmx:after:swap', () => {
    if (confirm.childElementCount > 0 && !confirm.open) confirm.showModal()
  })
  confirm.addEventListener('close', () => {
    // The event comes late: it may have been opened again.
    if (!confirm.open) confirm.replaceChildren()
  })
  // Who asked to kill something must not be left to believe that it was heard.
  document.addEventListener('htmx:error', ({ detail }) => {
    const source = detail.ctx?.sourceElement
    if (!source || source.id === 'live' || source === asking || source.matches('[role=search]')) return
    const title = Object.assign(document.createElement('h1'), {
      id: 'title',
      textContent: 'The console does not answer',
    })
    const text = Object.assign(document.createElement('p'), {
      id: 'doomed',
      textContent: 'Nothing was done. Try again.',
    })
    const close = Object.assign(document.createElement('button'), { type: 'button', textContent: 'Close' })
    close.dataset.close = ''
    confirm.replaceChildren(title, text, close)
    if (!confirm.open) confirm.showModal()
  })
  confirm.addEventListener('click', (event) => {
    if (!event.target.closest('[data-close]')) return
    event.preventDefault()
    confirm.close()
  })
}

// ---- The palette: a dialog on every page, and a page of its own

const palette = find('#palette')
if (asking) {
  const input = find('#find')
  const chosen = () => find('[aria-selected=true]', asking)
  const options = () => [...asking.querySelectorAll('[role=option]')]
  const found = find('#found')
  let isEntered = false
  /** Whether the results are those of what stands in the field. */
  const isCurrent = () => found.ariaBusy !== 'true'
  const outdate = () => {
    found.ariaBusy = 'true'
    isEntered = false
  }

  const choose = (option) => {
    chosen()?.setAttribute('aria-selected', 'false')
    option?.setAttribute('aria-selected', 'true')
    option?.scrollIntoView({ block: 'nearest' })
    if (option) input.setAttribute('aria-activedescendant', option.id)
    else input.removeAttribute('aria-activedescendant')
  }
  input.addEventListener('input', outdate)
  input.addEventListener('keydown', (event) => {
    const all = options()
    const at = all.indexOf(chosen())
    if (event.key === 'ArrowDown') choose(all[(at + 1) % all.length])
    else if (event.key === 'ArrowUp') choose(all.at(at <= 0 ? -1 : at - 1))
    else if (event.key === 'Enter' && isCurrent()) chosen()?.click()
    else if (event.key === 'Enter') isEntered = true
    else return
    event.preventDefault()
  })
  document.addEventListener('htmx:error', ({ detail }) => {
    if (detail.ctx?.sourceElement === asking) found.textContent = 'The console does not answer.'
  })
  // Enter before the answer takes what the answer brings, never what was found for other letters.
  const asked = new WeakMap()
  document.addEventListener('htmx:before:request', ({ detail }) => {
    if (detail.ctx?.sourceElement === asking) asked.set(detail.ctx, input.value)
  })
  document.addEventListener('htmx:after:swap', ({ detail }) => {
    if (detail.ctx?.sourceElement !== asking) return
    choose(options()[0])
    if (asked.get(detail.ctx) !== input.value) return
    found.ariaBusy = 'false'
    if (isEntered) chosen()?.click()
    isEntered = false
  })

  if (palette) {
    const open = () => {
      if (palette.open) return
      find('#menu').hidePopover()
      outdate()
      palette.showModal()
      htmx.trigger(asking, 'refresh')
    }
    // It may be open before htmx has come to hear of it.
    document.addEventListener('htmx:after:process', ({ target }) => {
      if (target === document.body && palette.open) htmx.trigger(asking, 'refresh')
    })
    document.addEventListener('click', (event) => {
      if (!event.target.closest('[data-palette]') || event.ctrlKey || event.metaKey) return
      event.preventDefault()
      open()
    })
    document.addEventListener('keydown', (event) => {
      const isTyping = event.target.closest?.('input, textarea, select, [contenteditable]')
      const isSlash = event.key === '/' && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey
      const isK = event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey)
      if ((!isSlash && !isK) || confirm.open) return
      event.preventDefault()
      open()
    })
    palette.addEventListener('click', (event) => {
      if (event.target === palette || event.target.closest('[data-close]')) palette.close()
    })
    palette.addEventListener('close', () => {
      // The event comes late: it may have been opened again.
      if (palette.open) return
      input.value = ''
      found.replaceChildren()
    })
  }
}
