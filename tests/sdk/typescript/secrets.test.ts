// Credentials are neither printed nor repeated in errors: newcomer F19.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createOneself, type Options, Refused } from 'oneself-client';

const SECRET = 'kept-to-itself';
const everything = { depth: Infinity, showHidden: true, getters: true };

function client(options: object, response = Response.json({ status: 'ok' })) {
  return createOneself({
    baseUrl: 'http://account.example',
    fetch: async () => response.clone(),
    retries: { attempts: 1 },
    ...options,
  } as Options);
}

for (const options of [
  { token: SECRET },
  { token: () => SECRET },
  { apiKey: SECRET },
  { client: { id: 'cli_1', secret: SECRET } },
]) {
  test(`a client with ${inspect(options)} hides it`, () => {
    const me = client(options);
    assert.ok(!inspect(me, everything).includes(SECRET));
    assert.ok(!JSON.stringify(me).includes(SECRET));
  });
}

for (const options of [{ token: SECRET }, { apiKey: SECRET }]) {
  test(`a result of a client with ${Object.keys(options)} hides it`, async () => {
    const headers = { 'Set-Cookie': `session=${SECRET}` };
    const refusal = Response.json({ code: 'invalid_token', message: 'No.' }, { status: 401, headers });
    for (const response of [Response.json({ data: {} }, { headers }), refusal]) {
      const result = await client(options, response).ipto.getCurrentUser({ throwOnError: false });
      assert.ok(!inspect(result, { depth: Infinity }).includes(SECRET));
      assert.ok(!JSON.stringify(result).includes(SECRET));
      // It was sent.
      assert.ok([...result.request!.headers.values()].join().includes(SECRET));
    }
  });
}

for (const token of [`${SECRET}\n`, `${SECRET}\nX: y`, `${SECRET}\u2013`, '']) {
  test(`a malformed token is not repeated: ${JSON.stringify(token)}`, async () => {
    for (const options of [{ token }, { token: () => token }, { apiKey: token }]) {
      await assert.rejects(client(options).ipto.getCurrentUser(), (error) => {
        assert.ok(error instanceof TypeError && !(error instanceof Refused));
        assert.match(error.message, /^A token or API key has visible ASCII characters only\./);
        assert.ok(!inspect(error, everything).includes(SECRET));
        return true;
      });
    }
  });
}
