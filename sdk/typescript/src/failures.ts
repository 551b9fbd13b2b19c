/** The errors of calls. */

import { shapes } from './document.gen.js';
import { secondsToWait } from './retries.js';
import type { RefusalCode } from './types.gen.js';

type Steps = ReadonlyArray<string | number>;

/** The base class of all errors of this package, except wrong arguments and your own abort signal. */
export class OneselfError extends Error {
  override readonly name: string = 'OneselfError';
}

/** No response: the service could not be reached, disconnected, or took too long. */
export class Unreachable extends OneselfError {
  override readonly name = 'Unreachable';
}

/** A response that the API document does not describe, for example from a proxy. */
export class UnexpectedAnswer extends OneselfError {
  override readonly name = 'UnexpectedAnswer';

  constructor(readonly response: Response, cause?: unknown) {
    super(`response with status ${response.status} that the API document does not describe`, { cause });
  }
}

/** The resource has not changed since the ETag in `If-None-Match`. */
export class NotModified extends OneselfError {
  override readonly name = 'NotModified';
}

/**
 * A request rejected by the service. It also has the fields of the body in the format of the dialect,
 * such as `error.error.code` of ipto and `error.detail` of Hantera.
 */
export class Refused<Code extends string = RefusalCode> extends OneselfError {
  override readonly name = 'Refused';
  readonly code: Code;
  readonly status: number;
  /** The id of the request in the service's log. */
  readonly requestId: string | null;
  /** The seconds to wait before the next attempt, if the service sent `Retry-After`. */
  readonly retryAfter: number | undefined;
  /** The notices of the policies that denied the request. */
  readonly notices: readonly string[];
  /** The body of the response, in the format of the dialect. */
  readonly body: unknown;

  constructor(code: Code, message: string, response: Response, body: object, notices: readonly string[]) {
    super(message);
    Object.assign(this, body);
    this.message = message;
    this.code = code;
    this.status = response.status;
    this.requestId = response.headers.get('X-Request-Id');
    this.retryAfter = secondsToWait(response.headers);
    this.notices = notices;
    this.body = body;
  }
}

/** Check whether a caught error is a refusal, optionally with one of these codes. */
export function isRefused(error: unknown): error is Refused;
export function isRefused<Code extends RefusalCode>(error: unknown, ...codes: readonly Code[]): error is Refused<Code>;
export function isRefused(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Refused && (codes.length === 0 || codes.includes(error.code));
}

/** Return the error for an unsuccessful response. */
export function failureOf(body: unknown, response: Response): OneselfError {
  if (response.status === 304) return new NotModified('The resource has not changed.');
  for (const shape of shapes) {
    const code = follow(body, shape.code);
    const message = follow(body, shape.message);
    if (typeof code === 'string' && typeof message === 'string') {
      const notices = shape.notices === null ? undefined : follow(body, shape.notices);
      return new Refused(code, message, response, body as object, Array.isArray(notices) ? notices : []);
    }
  }
  return new UnexpectedAnswer(response, body);
}

function follow(body: unknown, steps: Steps): unknown {
  let node: unknown = body;
  for (const step of steps) {
    if (typeof node !== 'object' || node === null) return undefined;
    node = (node as Record<string | number, unknown>)[step];
  }
  return node;
}
