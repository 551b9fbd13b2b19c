/** The operations as functions, of which a bundler keeps those that are used: `iptoGetCurrentUser({ client })`. */

export { connect, type Credential, type Options } from './connect.js';
export { isRefused, NotModified, OneselfError, Refused, UnexpectedAnswer, Unreachable } from './failures.js';
export * from './functions.gen.js';
