/** The operations as functions, for tree-shaking: `iptoGetCurrentUser({ client })`. */

export { connect, type Credential, type Options } from './connect.js';
export { isRefused, NotModified, OneselfError, Refused, UnexpectedAnswer, Unreachable } from './failures.js';
export * from './functions.gen.js';
