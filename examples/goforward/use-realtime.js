// A React hook for GoForward's channels.
//
//   const { connected, messages, presence, error, sendMessage, updatePresence } = useRealtime('chat-room-1', token)

import { useCallback, useEffect, useRef, useState } from 'react'

import { RealtimeClient } from './realtime-client.js'

// `presence` is the state of each user by id; a user who left is not in it.
// Nothing happens without a channel and a token; `options` are those of RealtimeClient, as they are at the first render.
export function useRealtime(channelName, token, options) {
  const [connected, setConnected] = useState(false)
  const [messages, setMessages] = useState([])
  const [presence, setPresence] = useState({})
  const [error, setError] = useState(null)
  const client = useRef(null)
  const given = useRef(options)

  useEffect(() => {
    if (!channelName || !token) return undefined

    let isCurrent = true
    // After the effect is over a late event of its socket must not touch what belongs to the next one.
    const whileCurrent = (handle) => (...details) => { if (isCurrent) handle(...details) }

    const current = new RealtimeClient(channelName, token, {
      ...given.current,
      onOpen: whileCurrent(() => { setConnected(true); setError(null); setPresence({}) }),
      onClose: whileCurrent(() => setConnected(false)),
      onError: whileCurrent(setError),
      onProblem: whileCurrent(setError),
      onMessage: whileCurrent((message) => setMessages((earlier) => [...earlier, message])),
      onPresence: whileCurrent((message) => setPresence((earlier) => follow(earlier, message))),
    })
    client.current = current
    current.connect()
    return () => {
      isCurrent = false
      client.current = null
      current.disconnect()
      setConnected(false)
      setMessages([])
      setPresence({})
    }
  }, [channelName, token])

  const sendMessage = useCallback((event, payload) => client.current?.sendMessage(event, payload) ?? false, [])
  const updatePresence = useCallback((state) => client.current?.updatePresence(state) ?? false, [])

  return { connected, messages, presence, error, sendMessage, updatePresence }
}

function follow(earlier, { event, payload: { user_id: user, state } }) {
  const { [user]: _, ...others } = earlier
  return event === 'leave' ? others : { ...others, [user]: state }
}
