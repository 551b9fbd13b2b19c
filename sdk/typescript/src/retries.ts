/** When a call is sent again by itself, and after how long. */

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);
const PASSING = new Set([502, 503, 504]);
const TOO_MANY_REQUESTS = 429;

/**
 * How often, and for how long, a call is tried before its failure is thrown.
 *
 * An operation that changes something is sent again only after a 429, with which the service says
 * that it did nothing. One that only reads, or that has an `Idempotency-Key`, with which it is done
 * once, is sent again after a broken connection, a 502, a 503 or a 504 as well.
 */
export interface Retries {
  /** How often a call is sent at most; 1 for never again. By default 3. */
  attempts?: number;
  /**
   * The longest time to wait for the next attempt, in seconds; by default 30. If `Retry-After` asks
   * for more, the failure is thrown at once, and says for how long.
   */
  longestWait?: number;
}

/** A `fetch` that tries again, each time for at most so many seconds. */
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
        // A body can be read once, so each attempt but the last has a copy of it.
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

/** What `Retry-After` asks for, in seconds from now (RFC 9110 section 10.2.3). */
export function secondsToWait(headers: Headers): number | undefined {
  const asked = headers.get('Retry-After')?.trim() ?? '';
  if (/^[0-9]+$/.test(asked)) return Number(asked);
  const moment = Date.parse(asked);
  return Number.isNaN(moment) ? undefined : Math.max(0, (moment - Date.now()) / 1000);
}

function mayBeRepeated(request: Request, outcome: Response | { readonly error: unknown }): boolean {
  const isSafe = SAFE.has(request.method) || request.headers.has('Idempotency-Key');
  // What failed without an answer may have been carried out: fetch does not tell how far it came.
  if (!(outcome instanceof Response)) return isSafe;
  return outcome.status === TOO_MANY_REQUESTS || (isSafe && PASSING.has(outcome.status));
}

function secondsBefore(
  attempt: number,
  outcome: Response | { readonly error: unknown },
  longestWait: number,
): number | undefined {
  const asked = outcome instanceof Response ? secondsToWait(outcome.headers) : undefined;
  if (asked !== undefined) return asked <= longestWait ? asked : undefined;
  // By chance, so that many clients that failed together do not come back together.
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
