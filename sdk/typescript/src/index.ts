/** A client of oneself: one account, every "me" API. */

import { connect, type Options } from './connect.js';
import { Dialects } from './sdk.gen.js';

export { connect, type Credential, type Options } from './connect.js';
export type { KnownCode } from './document.gen.js';
export { isRefused, MfaRequired, NotModified, OneselfError, Refused, UnexpectedAnswer, Unreachable, type Violation } from './failures.js';
export { iterate, type Page } from './pages.js';
export type { Retries } from './retries.js';
export type * from './types.gen.js';
export type { Dialects } from './sdk.gen.js';

/**
 * Create a client with each dialect as an attribute: `createOneself({ baseUrl, token }).ipto.getCurrentUser()`.
 *
 * An operation returns its response in `data`, and throws errors that `isRefused` can check. With
 * `throwOnError: false` in its options, it returns the refusal as `error`, typed as in the document.
 */
export function createOneself(options: Options): Dialects {
  return new Dialects({ client: connect(options) });
}
