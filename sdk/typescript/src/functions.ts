/** The operations as functions, for tree-shaking: `iptoGetCurrentUser({ client })`. */

export { connect, type Credential, type Options } from './connect.js';
export type { KnownCode } from './document.gen.js';
export { isRefused, NotModified, OneselfError, Refused, UnexpectedAnswer, Unreachable, type Violation } from './failures.js';
export { iterate, type Page } from './pages.js';
export * from './functions.gen.js';
