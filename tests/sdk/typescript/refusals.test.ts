// Each example of a refusal in the document, extracted by the Python test that runs this.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createOneself, isRefused, type KnownCode, Refused } from 'oneself-client';
import { codes } from './codes.gen.ts';

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
// The codes of the document and those of the type are the same.
const same: Same<(typeof codes)[number], KnownCode> = true;
void same;

const examples: { name: string; status: number; code: KnownCode; body: object }[] = JSON.parse(
  readFileSync('examples.json', 'utf8'),
);

for (const { name, status, code, body } of examples) {
  test(`${name} ${code}`, async () => {
    const headers = { 'X-Request-Id': 'req_0a1b2c3d4e5f' };
    const fetch: typeof globalThis.fetch = async () => Response.json(body, { status, headers });
    const oneself = createOneself({ baseUrl: 'http://account.example', fetch, retries: { attempts: 1 } });
    const { error } = await oneself.status.getHealth({ throwOnError: false });
    assert.ok(error instanceof Refused);
    assert.ok(isRefused(error, code));
    assert.deepEqual([error.code, error.status, error.body], [code, status, body]);
    assert.ok(JSON.stringify(body).includes(JSON.stringify(error.message).slice(1, -1)));
    // The fields of the body are there too; a dialect may use `code` and `status` for other things.
    for (const [field, value] of Object.entries(body)) {
      assert.deepEqual((error as unknown as Record<string, unknown>)[field], value);
    }
    // newcomer F19.
    for (const text of [String(error), String(error.stack), inspect(error)]) {
      for (const part of [error.message, `(${status} ${code}, request req_0a1b2c3d4e5f)`, ...error.notices]) {
        assert.ok(text.includes(part), `${text}: ${part}`);
      }
      for (const { place, field, rule } of error.violations) {
        assert.ok(text.includes(`${place} ${field}`.trim() + `: ${rule}`), text);
      }
    }
    assert.equal(error.violations.length > 0, /"(violations|loc)":/.test(JSON.stringify(body)));
  });
}

// clients C10: a service newer than the client.
test('unknown codes, scopes and event kinds are accepted', async () => {
  const client = (status: number, body: object) =>
    createOneself({ baseUrl: 'http://account.example', fetch: async () => Response.json(body, { status }) });
  const { error } = await client(400, { code: 'too_good', message: 'No.' }).status.getHealth({ throwOnError: false });
  assert.ok(isRefused(error));
  assert.ok(error.code === 'too_good');
  const scopes: string[] = ['me/stars:read'];
  const { data: pats } = await client(200, [{ scopes }]).hantera.listPats();
  assert.deepEqual(pats[0]?.scopes, scopes);
  const page = { data: { items: [{ kind: 'star_seen' }], next_cursor: null } };
  const { data: events } = await client(200, page).ipto.listEvents();
  const kind: string | undefined = events.data.items[0]?.kind;
  assert.equal(kind, 'star_seen');
});
