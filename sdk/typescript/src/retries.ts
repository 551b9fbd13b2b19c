/** Automatic retries. */

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
const PASSING = new Set([502, 503, 504]);
const TOO_MANY_REQUESTS = 429;

/**
 * The number of attempts for a call, and the longest wait between them.
 *
 * An operation that writes is only repeated after a 429, which means that nothing was done. An
 * operation that reads, or that has an `Idempotency-Key`, is also repeated after a broken connection
 * and after a 502, 503 or 504.
 */
export interface Retries {
  /** The maximum number of attempts; 1 disables retries. By default 3. */
  attempts?: number;
  /**
   * The longest wait before the next attempt, in seconds; by default 30. If `Retry-After` is longer,
   * the error is thrown at once; its `retryAfter` says how long to wait.
   */
  longestWait?: number;
}

/** Return a `fetch` with retries, and a timeout in seconds for each attempt. */
export function retrying(
  fetch: typeof globalThis.fetch,
  { attempts = 3, longestWait = 30 }: Retries,
  timeout: number,
): typeof globalThis.fetch {
  return async (input, init) => {
    const request = new Request(input, init);
    for (let attempt = 1; ; attempt += 1) {
      const signal = AbortSignal.any([request.signal, AbortSignal.timeout(timeout * 1000)]);
      let outcome: Response | { readonly error: unknown };
      try {
        // A body can be read only once, so each attempt but the last gets a copy.
        outcome = await fetch(attempt < attempts ? request.clone() : request, { signal });
      } catch (error) {
        outcome = { error };
      }
      const wait =
        attempt < attempts && !request.signal.aborted && mayBeRepeated(request, outcome)
          ? secondsBefore(attempt + 1, outcome, longestWait)
          : undefined;
      if (wait === undefined) {
        if (outcome instanceof Response) return outcome;
        throw outcome.error;
      }
      if (outcome instanceof Response) await outcome.body?.cancel();
      await sleep(wait, request.signal);
    }
  };
}

/** Return the seconds from now in `Retry-After` (RFC 9110 section 10.2.3). */
export function secondsToWait(headers: Headers): number | undefined {
  const value = headers.get('Retry-After')?.trim() ?? '';
  if (/^[0-9]+$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, (date - Date.now()) / 1000);
}

function mayBeRepeated(request: Request, outcome: Response | { readonly error: unknown }): boolean {
  const isSafe = SAFE.has(request.method) || request.headers.has('Idempotency-Key');
  // Without a response, the request may have been carried out: fetch does not say how far it got.
  if (!(outcome instanceof Response)) return isSafe;
  return outcome.status === TOO_MANY_REQUESTS || (isSafe && PASSING.has(outcome.status));
}

function secondsBefore(
  attempt: number,
  outcome: Response | { readonly error: unknown },
  longestWait: number,
): number | undefined {
  const value = outcome instanceof Response ? secondsToWait(outcome.headers) : undefined;
  if (value !== undefined) return value <= longestWait ? value : undefined;
  // Random, so that clients that failed together do not return together.
  return Math.min(longestWait, (0.5 + Math.random() / 2) * 2 ** (attempt - 2));
}

function sleep(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener('abort', stop, { once: true });
  });
}
