import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused } from 'oneself-client';
import { newcomer, newPassword } from './newcomer.ts';

test('an account is opened and its password changed', async () => {
  const email = `other.${newcomer.email}`;
  const password = newcomer.password;
  const anybody = createOneself({ baseUrl: newcomer.url });
  await anybody.ipto.signUp({
    body: { email, password, display_name: 'Alice Chen', tenant_name: 'Acme Corp' },
  });
  await assert.rejects(anybody.ipto.logIn({ body: { email, password: 'wrong-Passw0rd' } }), (error) =>
    isRefused(error, 'invalid_credentials'),
  );
  const { data: login } = await anybody.ipto.logIn({ body: { email, password } });

  const me = createOneself({ baseUrl: newcomer.url, token: login.data.session_token ?? '' });
  const { data: user } = await me.ipto.getCurrentUser();
  assert.deepEqual([user.data.email, user.data.display_name, user.data.roles], [email, 'Alice Chen', ['owner']]);

  // As a value and not as an exception, it has the type that the document gives it.
  const { data, error } = await me.ipto.changePassword({
    body: { current_password: password, new_password: 'Password' },
    throwOnError: false,
  });
  assert.equal(data, undefined);
  assert.equal(error?.error.code, 'weak_password');
  assert.equal(error?.error.details?.violations?.[0]?.field, '/new_password');

  await assert.rejects(
    me.ipto.changePassword({ body: { current_password: '0ther-Passw0rd', new_password: newPassword } }),
    (error) => isRefused(error, 'wrong_password', 'weak_password') && error.status === 400,
  );
  const changed = await me.ipto.changePassword({ body: { current_password: password, new_password: newPassword } });
  assert.equal(changed.data.data.success, true);

  const { data: key } = await me.ipto.createApiKey({ body: { name: 'reporting', scopes: ['me/profile:read'] } });
  const program = createOneself({ baseUrl: newcomer.url, apiKey: key.data.key });
  assert.equal((await program.scaikey.getProfile()).data.email, email);
  await assert.rejects(program.ipto.listApiKeys(), (error) => isRefused(error, 'insufficient_scope'));
  const revoked = await me.ipto.revokeApiKey({ path: { api_key_id: key.data.api_key_id } });
  assert.equal(revoked.response.status, 204);
  await assert.rejects(program.scaikey.getProfile(), (error) => isRefused(error, 'invalid_token'));

  const { data: page } = await me.ipto.listEvents({ query: { limit: 1 } });
  assert.equal(page.data.items.length, 1);
  await me.ipto.revokeOtherSessions();
  const { data: sessions } = await me.ipto.listSessions();
  assert.deepEqual(sessions.data.items.map((each) => each.current), [true]);
  await me.ipto.logOut();
  await assert.rejects(me.ipto.getCurrentUser(), (error) => isRefused(error, 'invalid_token'));
});
