/** The errors of calls. */

import { type KnownCode, shapes } from './document.gen.js';
import { secondsToWait } from './retries.js';

/** Any code: editors complete those that are known, and a newer service can send further ones. */
type AnyCode = KnownCode | (string & {});
type Steps = ReadonlyArray<string | number>;

/** A rule that a field of the request breaks. */
export interface Violation {
  /** `body`, `query`, `path` or `header`. */
  readonly place: string;
  /** A JSON pointer to the field, or the name of the parameter; empty for the whole body. */
  readonly field: string;
  readonly rule: string;
}

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

/** The password is right, and the account has a second factor. */
export class MfaRequired extends OneselfError {
  override readonly name = 'MfaRequired';
  /** A secret: it stands for the password for ten minutes. Consoles do not print it. */
  declare readonly challengeId: string;

  constructor(
    challengeId: string,
    /** The ways to make a code, such as `totp`. */
    readonly methods: readonly string[],
  ) {
    super(`the login needs a code: ${methods.join(', ')}`);
    Object.defineProperty(this, 'challengeId', { value: challengeId, enumerable: false });
  }
}

/** Return the error for the challenge of a login; null for any other body. */
export function challengeOf(body: unknown): MfaRequired | null {
  const id = follow(body, ['data', 'challenge_id']);
  const methods = follow(body, ['data', 'methods']);
  return typeof id === 'string' && Array.isArray(methods) ? new MfaRequired(id, methods.map(String)) : null;
}

/**
 * A request rejected by the service. It also has the fields of the body in the format of the dialect,
 * such as `error.error.code` of ipto and `error.detail` of Hantera.
 */
export class Refused<Code extends string = AnyCode> extends OneselfError {
  override readonly name = 'Refused';
  readonly code: Code;
  readonly status: number;
  /** The id of the request in the service's log. */
  readonly requestId: string | null;
  /** The seconds to wait before the next attempt, if the service sent `Retry-After`. */
  readonly retryAfter: number | undefined;
  /** The notices of the policies that denied the request. */
  readonly notices: readonly string[];
  readonly violations: readonly Violation[];
  /** The body of the response, in the format of the dialect. */
  readonly body: unknown;

  constructor(
    code: Code,
    message: string,
    response: Response,
    body: object,
    notices: readonly string[],
    violations: readonly Violation[],
  ) {
    const requestId = response.headers.get('X-Request-Id');
    // The stack, which consoles print, begins with this text; `message` is the service's alone.
    super(describe(message, notices, violations, `${response.status} ${code}`, requestId));
    void this.stack; // V8 formats it when it is first read
    Object.assign(this, body);
    this.message = message;
    this.code = code;
    this.status = response.status;
    this.requestId = requestId;
    this.retryAfter = secondsToWait(response.headers);
    this.notices = notices;
    this.violations = violations;
    this.body = body;
  }

  /** Return all that a log needs: message, fields, status, code and request id. */
  override toString(): string {
    const text = describe(this.message, this.notices, this.violations, `${this.status} ${this.code}`, this.requestId);
    return `${this.name}: ${text}`;
  }
}

function describe(
  message: string,
  notices: readonly string[],
  violations: readonly Violation[],
  outcome: string,
  requestId: string | null,
): string {
  // In one dialect the message is the rule of the first violation.
  const isRule = violations.some(({ rule }) => rule === message);
  const rules = violations.map(({ place, field, rule }) => `${`${place} ${field}`.trimEnd()}: ${rule}`);
  const texts = [...(isRule ? [] : [message]), ...notices, ...(rules.length > 0 ? [rules.join('; ')] : [])];
  return `${texts.join(' ')} (${outcome}${requestId === null ? '' : `, request ${requestId}`})`;
}

/** Check whether a caught error is a refusal, optionally with one of these codes. */
export function isRefused(error: unknown): error is Refused;
export function isRefused<Code extends KnownCode>(error: unknown, ...codes: readonly Code[]): error is Refused<Code>;
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
      const notices = listed(body, shape.notices).map(String);
      const violations = listed(body, shape.violations).map(violationOf);
      return new Refused(code, message, response, body as object, notices, violations);
    }
  }
  return new UnexpectedAnswer(response, body);
}

function listed(body: unknown, steps: Steps | null): readonly unknown[] {
  const items = steps === null ? undefined : follow(body, steps);
  return Array.isArray(items) ? items : [];
}

/** Parse a violation in either of the two formats of the dialects. */
function violationOf(item: unknown): Violation {
  const { loc, msg, in: place, field, rule } = item as Record<string, unknown>;
  if (!Array.isArray(loc)) return { place: String(place), field: String(field), rule: String(rule) };
  const [part, ...steps] = loc.map(String);
  return { place: String(part), field: steps.map((step) => `/${step}`).join(''), rule: String(msg) };
}

function follow(body: unknown, steps: Steps): unknown {
  let node: unknown = body;
  for (const step of steps) {
    if (typeof node !== 'object' || node === null) return undefined;
    node = (node as Record<string | number, unknown>)[step];
  }
  return node;
}
