/** Sends requests: credentials, retries and errors. */

import { type Client, createClient } from './client/index.js';
import { challengeOf, failureOf, MfaRequired, Unreachable, UnexpectedAnswer } from './failures.js';
import { type Retries, retrying } from './retries.js';

/** The end of the path of each login. */
const logInPath = '/auth/login';

/** A credential, or a function that returns one, for JWTs, which expire after ten minutes. */
export type Credential = string | (() => string | Promise<string>);

/** The deployment and the credentials. A credential is sent only with operations that accept it. */
export type Options = {
  /** The URL of the deployment, such as `https://account.example.com`. */
  baseUrl: string;
  /** The id and the secret of an OAuth client of the tenant, for the operations of `oauth`. */
  client?: { id: string; secret: string };
  retries?: Retries;
  /** The timeout of one attempt in seconds; by default 30. */
  timeout?: number;
  fetch?: typeof globalThis.fetch;
} & (
  | {
      /** A session, an access token, a personal access token or a JWT. */
      token?: Credential | undefined;
      apiKey?: undefined;
    }
  | { apiKey?: Credential | undefined; token?: undefined }
);

/** Create a connection for the functions of `oneself-client/functions`. */
export function connect(options: Options): Client {
  const { baseUrl, client: id, retries = {}, timeout = 30 } = options;
  // Looked up for each call, so that a test can replace it.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const client = createClient({
    baseUrl,
    throwOnError: true,
    fetch: retrying(fetch, retries, timeout),
    // The service never redirects; an API key would be sent to the new address.
    redirect: 'error',
    auth: async ({ type, scheme, in: place }) => {
      if (scheme === 'basic') return id === undefined ? undefined : `${encodeURIComponent(id.id)}:${encodeURIComponent(id.secret)}`;
      if (scheme === 'bearer') return read(options.token);
      // The browser sends the cookie itself.
      return type === 'apiKey' && place !== 'cookie' ? read(options.apiKey) : undefined;
    },
    bodySerializer: (body: unknown) => (body instanceof Blob ? body : JSON.stringify(body)),
  });
  client.interceptors.request.use((request, { body }) => {
    // A file has its own media type.
    if (body instanceof Blob && body.type !== '') request.headers.set('Content-Type', body.type);
    return withoutHeaders(request, `${request.method} ${request.url}`);
  });
  client.interceptors.response.use(async (response, request) => {
    if (response.ok && new URL(request.url).pathname.endsWith(logInPath)) {
      const challenge = challengeOf(await response.clone().json());
      if (challenge !== null) throw challenge;
    }
    return withoutHeaders(response, `${response.status} ${response.url}`);
  });
  client.interceptors.error.use((error, response, request) => {
    if (error instanceof MfaRequired) throw error;
    if (response !== undefined) {
      if (response.ok) throw new UnexpectedAnswer(response, error);
      const failure = failureOf(error, response);
      // The types of an operation describe only refusals as errors.
      if (failure instanceof UnexpectedAnswer) throw failure;
      return failure;
    }
    if (request === undefined || request.signal.aborted) throw error;
    throw new Unreachable(`no response from ${baseUrl}`, { cause: error });
  });
  return client;
}

async function read(credential: Credential | undefined): Promise<string | undefined> {
  const value = typeof credential === 'function' ? await credential() : credential;
  // The error of `fetch` would repeat the value.
  if (value !== undefined && !/^[!-~]+$/.test(value)) {
    throw new TypeError(
      'A token or API key has visible ASCII characters only. Remove spaces and line breaks, such as the one at the end of a file.',
    );
  }
  return value;
}

/** Make consoles of servers print this summary instead of the headers, which have credentials. */
function withoutHeaders<T extends Request | Response>(message: T, summary: string): T {
  return Object.defineProperty(message, Symbol.for('nodejs.util.inspect.custom'), { value: () => summary });
}
