// Lets the examples of the project find the packages of this folder: run as node --import ./examples.mjs …

import { registerHooks } from 'node:module'

const isPackage = (specifier) => /^[\w@]/.test(specifier) && !specifier.includes(':')

registerHooks({
  resolve(specifier, context, next) {
    return next(specifier, isPackage(specifier) ? { ...context, parentURL: import.meta.url } : context)
  },
})
