/** A client of oneself: one account, every "me" API. */

import { connect, type Options } from './connect.js';
import { Dialects } from './sdk.gen.js';

export { connect, type Credential, type Options } from './connect.js';
export { isRefused, NotModified, OneselfError, Refused, UnexpectedAnswer, Unreachable } from './failures.js';
export type { Retries } from './retries.js';
export type * from './types.gen.js';
export type { Dialects } from './sdk.gen.js';

/**
 * A client that has each dialect as an attribute: `createOneself({ baseUrl, token }).ipto.getCurrentUser()`.
 *
 * An operation gives its answer in `data`, and throws what `isRefused` tells apart. With
 * `throwOnError: false` in its options it gives the refusal as `error`, typed as the document has it.
 */
export function createOneself(options: Options): Dialects {
  return new Dialects({ client: connect(options) });
}
