// Requests and retries, with a scripted service.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused, type Options, Refused, UnexpectedAnswer, Unreachable } from 'oneself-client';

type Outcome = Response | Error;

function scripted(script: Outcome[], options: Partial<Options> = {}) {
  const requests: Request[] = [];
  const fetch: typeof globalThis.fetch = async (input, init) => {
    requests.push(new Request(input, init));
    const outcome = script.shift();
    if (outcome === undefined) throw new Error('too many requests');
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  const oneself = createOneself({ baseUrl: 'http://account.example/', fetch, ...options } as Options);
  return { requests, oneself };
}

const refusal = (status: number, headers: Record<string, string> = { 'Retry-After': '0' }): Response =>
  Response.json({ code: 'unavailable', message: 'No.' }, { status, headers });
const healthy = (): Response => Response.json({ status: 'ok' });
const done = (): Response => Response.json({ access_token: 'tok_1' });
const isUnavailable = (error: unknown): boolean => isRefused(error, 'unavailable');

for (const status of [502, 503, 504]) {
  test(`a ${status} repeats a read and not a write`, async () => {
    const reading = scripted([refusal(status), healthy()]);
    await reading.oneself.status.getHealth();
    assert.equal(reading.requests.length, 2);
    const writing = scripted([refusal(status)]);
    await assert.rejects(writing.oneself.hyperclast.regenerateAccessToken(), isUnavailable);
    assert.equal(writing.requests.length, 1);
  });
}

for (const outcome of [refusal(502), new TypeError('fetch failed')]) {
  test(`a write with an idempotency key is repeated after ${outcome.constructor.name}`, async () => {
    const { requests, oneself } = scripted([outcome, done()]);
    await oneself.hyperclast.regenerateAccessToken({ headers: { 'Idempotency-Key': '0b7ad1a2' } });
    assert.deepEqual(requests.map((each) => each.headers.get('Idempotency-Key')), ['0b7ad1a2', '0b7ad1a2']);
  });
}

test('a request is repeated with its body after a 429', async () => {
  const { requests, oneself } = scripted([refusal(429), Response.json({ data: { success: true } }, { status: 202 })]);
  await oneself.ipto.requestPasswordReset({ body: { email: 'alice@example.com' } });
  assert.deepEqual(await Promise.all(requests.map((each) => each.json())), [
    { email: 'alice@example.com' },
    { email: 'alice@example.com' },
  ]);
});

test('a broken connection repeats a read and not a write', async () => {
  const cut = new TypeError('fetch failed');
  const reading = scripted([cut, healthy()]);
  await reading.oneself.status.getHealth();
  assert.equal(reading.requests.length, 2);
  const writing = scripted([cut]);
  await assert.rejects(
    writing.oneself.hyperclast.regenerateAccessToken(),
    (error) => error instanceof Unreachable && error.cause === cut,
  );
  assert.equal(writing.requests.length, 1);
});

test('attempts are limited', async () => {
  const { requests, oneself } = scripted([refusal(429), refusal(429), refusal(429)], { retries: { attempts: 2 } });
  await assert.rejects(oneself.status.getHealth(), isUnavailable);
  assert.equal(requests.length, 2);
});

test('a long Retry-After is thrown at once', async () => {
  const { requests, oneself } = scripted([refusal(429, { 'Retry-After': '2' })], { retries: { longestWait: 1 } });
  await assert.rejects(oneself.status.getHealth(), (error) => isRefused(error) && error.retryAfter === 2);
  assert.equal(requests.length, 1);
});

test('an undocumented response is not a refusal, even with throwOnError: false', async () => {
  const page = new Response('<h1>teapot</h1>', { status: 418 });
  const { oneself } = scripted([page]);
  await assert.rejects(
    oneself.status.getHealth({ throwOnError: false }),
    (error) => error instanceof UnexpectedAnswer && !(error instanceof Refused) && error.response.status === 418,
  );
});

test('the signal of the caller aborts the call with its reason', async () => {
  const reason = new Error('enough');
  const { requests, oneself } = scripted([refusal(429, { 'Retry-After': '20' }), healthy()]);
  const aborter = new AbortController();
  const call = oneself.status.getHealth({ signal: aborter.signal });
  setTimeout(() => aborter.abort(reason), 10);
  await assert.rejects(call, (error) => error === reason);
  assert.equal(requests.length, 1);
});

test('each operation gets its documented credential', async () => {
  const ok = (): Response => Response.json({});
  const { requests, oneself } = scripted([ok(), ok(), ok()], {
    token: 'sess_1',
    client: { id: 'cli_1', secret: 'cls:1' },
  });
  await oneself.ipto.getCurrentUser();
  await oneself.oauth.introspectToken({ body: { token: 'tok_1' } });
  await oneself.status.getHealth();
  assert.deepEqual(
    requests.map((each) => each.headers.get('Authorization')),
    ['Bearer sess_1', `Basic ${btoa('cli_1:cls%3A1')}`, null],
  );
  assert.ok(requests.every((each) => !each.headers.has('X-API-Key') && !each.headers.has('Cookie')));
});

test('an API key is sent in its header', async () => {
  const { requests, oneself } = scripted([Response.json({})], { apiKey: async () => 'ipto_1' });
  await oneself.ipto.getCurrentUser();
  assert.equal(requests[0]?.headers.get('X-API-Key'), 'ipto_1');
  assert.equal(requests[0]?.headers.get('Authorization'), null);
});

test('a file is sent with its own media type', async () => {
  const { requests, oneself } = scripted([Response.json({})], { token: 'sess_1' });
  await oneself.hantera.uploadPicture({ body: new Blob(['RIFF'], { type: 'image/webp' }) });
  assert.equal(requests[0]?.headers.get('Content-Type'), 'image/webp');
  assert.equal(await requests[0]?.text(), 'RIFF');
});

test('redirects are not followed', async () => {
  const { requests, oneself } = scripted([done()]);
  await oneself.hyperclast.regenerateAccessToken();
  assert.equal(requests[0]?.redirect, 'error');
});

// @ts-expect-error token and apiKey together are rejected
const mistaken: Options = { baseUrl: '', token: 'sess_1', apiKey: 'ipto_1' };
void mistaken;

// @ts-expect-error a code that the document does not have
void (() => isRefused(undefined, 'too_good'));
