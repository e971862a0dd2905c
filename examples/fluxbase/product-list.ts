// The list of products of the documentation, without JSX so that it needs no build step.

import { createElement as h } from 'react'

import { useRealtime } from './use-realtime-react.ts'

interface Product {
  id: number
  name: string
}

export function ProductList({ token, url }: { token?: string | null; url?: string }) {
  const { data: products, connected } = useRealtime<Product>('table:public.products', token, url)
  return h(
    'div',
    null,
    h('div', null, `Status: ${connected ? 'Connected' : 'Disconnected'}`),
    products.map((product) => h('div', { key: product.id }, product.name)),
  )
}
