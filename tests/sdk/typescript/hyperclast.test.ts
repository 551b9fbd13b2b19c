import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused } from 'oneself-client';
import { newUser } from './new_user.ts';

test('an access token is shown, used and regenerated', async () => {
  const me = createOneself({ baseUrl: newUser.url, token: newUser.session });
  const { data: user } = await me.hyperclast.getCurrentUser();
  assert.deepEqual([user.email, user.is_authenticated], [newUser.email, true]);
  const { data: shown } = await me.hyperclast.getAccessToken();
  assert.equal(shown.access_token, user.access_token);

  const program = createOneself({ baseUrl: newUser.url, token: shown.access_token });
  const { data: fresh } = await program.hyperclast.regenerateAccessToken();
  const { error } = await program.hyperclast.getAccessToken({ throwOnError: false });
  assert.equal(error?.error, 'invalid_token');
  assert.ok(isRefused(error, 'invalid_token'));
  const renewed = createOneself({ baseUrl: newUser.url, token: () => fresh.access_token });
  assert.equal((await renewed.hyperclast.getAccessToken()).data.access_token, fresh.access_token);
});
