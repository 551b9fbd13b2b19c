/** What can come of a call other than its answer. */

import { shapes } from './document.gen.js';
import { secondsToWait } from './retries.js';
import type { RefusalCode } from './types.gen.js';

type Steps = ReadonlyArray<string | number>;

/** Anything that this package throws, but for wrong arguments and a signal of yours. */
export class OneselfError extends Error {
  override readonly name: string = 'OneselfError';
}

/** No answer came: the service cannot be reached, or the connection broke, or it took too long. */
export class Unreachable extends OneselfError {
  override readonly name = 'Unreachable';
}

/** An answer that the document does not describe, a proxy's for example. */
export class UnexpectedAnswer extends OneselfError {
  override readonly name = 'UnexpectedAnswer';

  constructor(readonly response: Response, cause?: unknown) {
    super(`an answer with status ${response.status} that the document does not describe`, { cause });
  }
}

/** What was asked for is still what `If-None-Match` named. */
export class NotModified extends OneselfError {
  override readonly name = 'NotModified';
}

/**
 * The service says no. It has the fields of the refusal as its dialect has it as well, so that
 * `error.error.code` of ipto and `error.detail` of Hantera are there too.
 */
export class Refused<Code extends string = RefusalCode> extends OneselfError {
  override readonly name = 'Refused';
  readonly code: Code;
  readonly status: number;
  /** Names the request in the service's log. */
  readonly requestId: string | null;
  /** The seconds to wait before the next try, if the service says so. */
  readonly retryAfter: number | undefined;
  /** What the policies of the deployment say, where one of them forbade it. */
  readonly notices: readonly string[];
  /** The refusal as its dialect has it. */
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

/** Whether something that was caught is a refusal, and one of these codes if any are given. */
export function isRefused(error: unknown): error is Refused;
export function isRefused<Code extends RefusalCode>(error: unknown, ...codes: readonly Code[]): error is Refused<Code>;
export function isRefused(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Refused && (codes.length === 0 || codes.includes(error.code));
}

/** The exception for an answer that is not the one asked for. */
export function failureOf(body: unknown, response: Response): OneselfError {
  if (response.status === 304) return new NotModified('It is still what If-None-Match named.');
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
  let found: unknown = body;
  for (const step of steps) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<string | number, unknown>)[step];
  }
  return found;
}
