// A chat room: a status line, the messages, who is online, and a line to write in.

import { createElement as h, useState } from 'react'

import { useRealtime } from './use-realtime.js'

export function ChatRoom({ channelName, token, options }) {
  const { connected, messages, presence, error, sendMessage } = useRealtime(channelName, token, options)
  const [text, setText] = useState('')

  function send() {
    const message = text.trim()
    if (message && sendMessage('chat_message', { message })) setText('')
  }

  return h('section', null,
    h('p', { role: 'status' }, `Status: ${connected ? 'Connected' : 'Disconnected'}`),
    error && h('p', { role: 'alert' }, error.error ?? 'The connection failed'),
    h('h3', null, 'Messages'),
    h('ul', null, messages.map(({ id, user_id: user, payload }) =>
      h('li', { key: id }, h('strong', null, `${user}:`), ` ${payload.message}`))),
    h('h3', null, 'Online users'),
    h('ul', null, Object.entries(presence).map(([user, state]) =>
      h('li', { key: user }, `${user}: ${state.status ?? 'online'}`))),
    h('input', {
      'aria-label': 'Message',
      value: text,
      onChange: (event) => setText(event.target.value),
      onKeyDown: (event) => event.key === 'Enter' && send(),
    }),
    h('button', { type: 'button', onClick: send }, 'Send'))
}
