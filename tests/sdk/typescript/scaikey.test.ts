import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused } from 'oneself-client';
import { newUser, newPassword } from './new_user.ts';

test('profile fields and the password are changed', async () => {
  const me = createOneself({ baseUrl: newUser.url, token: newUser.session });
  const { data: before } = await me.scaikey.getProfile();
  assert.equal(before.email_verified, false);
  const { data: changed } = await me.scaikey.updateProfile({ body: { first_name: 'Alice', locale: 'de-DE' } });
  assert.deepEqual([changed.first_name, changed.locale, changed.display_name], ['Alice', 'de-DE', before.display_name]);
  const { data: cleared } = await me.scaikey.updateProfile({ body: { locale: null } });
  assert.deepEqual([cleared.first_name, cleared.locale], ['Alice', null]);

  const { error, response } = await me.scaikey.updateProfile({ body: { phone: '1234' }, throwOnError: false });
  assert.equal(response?.status, 422);
  assert.ok(isRefused(error, 'invalid_request'));

  assert.equal((await me.scaikey.requestEmailVerification()).data.success, true);
  await assert.rejects(
    me.scaikey.confirmEmailVerification({ body: { secret: `ots_${'0'.repeat(49)}` } }),
    (error) => isRefused(error, 'secret_invalid'),
  );
  await me.scaikey.changePassword({ body: { current_password: newUser.password, new_password: newPassword } });
  const { data: login } = await me.ipto.logIn({ body: { email: newUser.email, password: newPassword } });
  assert.match(login.data.session_token ?? '', /^sess_/);
});
