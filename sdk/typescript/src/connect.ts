/** How requests are sent: with which credential, how often, and what becomes of a failure. */

import { type Client, createClient } from './client/index.js';
import { failureOf, Unreachable, UnexpectedAnswer } from './failures.js';
import { type Retries, retrying } from './retries.js';

/** A credential as it is, or a function that gives one, for JWTs, which last ten minutes. */
export type Credential = string | (() => string | Promise<string>);

/** Where the deployment is, and who asks. A credential goes with an operation only if the document has one for it. */
export type Options = {
  /** `https://account.example.com` */
  baseUrl: string;
  /** The id and the secret of a client of the tenant, for the operations of `oauth`. */
  client?: { id: string; secret: string };
  retries?: Retries;
  /** The seconds that one attempt may take, by default 30. */
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

/** A connection, for the functions of `oneself-client/functions`. */
export function connect(options: Options): Client {
  const { baseUrl, client: id, retries = {}, timeout = 30 } = options;
  // Looked up for each call, so that a test can replace it.
  const fetch: typeof globalThis.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  const client = createClient({
    baseUrl,
    throwOnError: true,
    fetch: retrying(fetch, retries, timeout),
    // Nowhere does the service redirect; and an API key would go along.
    redirect: 'error',
    auth: async ({ type, scheme, in: place }) => {
      if (scheme === 'basic') return id === undefined ? undefined : `${encodeURIComponent(id.id)}:${encodeURIComponent(id.secret)}`;
      if (scheme === 'bearer') return read(options.token);
      // The cookie is the browser's own to send.
      return type === 'apiKey' && place !== 'cookie' ? read(options.apiKey) : undefined;
    },
    bodySerializer: (body: unknown) => (body instanceof Blob ? body : JSON.stringify(body)),
  });
  client.interceptors.request.use((request, { body }) => {
    // A file says itself what it is.
    if (body instanceof Blob && body.type !== '') request.headers.set('Content-Type', body.type);
    return request;
  });
  client.interceptors.error.use((error, response, request) => {
    if (response !== undefined) {
      if (response.ok) throw new UnexpectedAnswer(response, error);
      const failure = failureOf(error, response);
      // Only a refusal is what the types of an operation say its error is.
      if (failure instanceof UnexpectedAnswer) throw failure;
      return failure;
    }
    if (request === undefined || request.signal.aborted) throw error;
    throw new Unreachable(`no answer from ${baseUrl}`, { cause: error });
  });
  return client;
}

async function read(credential: Credential | undefined): Promise<string | undefined> {
  return typeof credential === 'function' ? credential() : credential;
}
