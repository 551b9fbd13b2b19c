import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself } from 'oneself-client';
import { newUser, newPassword } from './new_user.ts';

test('the password is changed only in the right tenant', async () => {
  const me = createOneself({ baseUrl: newUser.url, token: newUser.session });
  const body = { current_password: newUser.password, new_password: newPassword };
  const { error } = await me.jitsudo.changePassword({
    headers: { 'X-Tenant-ID': crypto.randomUUID() },
    body,
    throwOnError: false,
  });
  assert.equal(error?.code, 'tenant_mismatch');
  const { response } = await me.jitsudo.changePassword({ headers: { 'X-Tenant-ID': newUser.tenantUuid }, body });
  assert.equal(response.status, 204);
  const { data: login } = await me.ipto.logIn({ body: { email: newUser.email, password: newPassword } });
  assert.match(login.data.session_token ?? '', /^sess_/);
});

test('the profile is changed for the tenant', async () => {
  const me = createOneself({ baseUrl: newUser.url, token: newUser.session });
  const headers = { 'X-Tenant-ID': newUser.tenantUuid };
  const { data: changed } = await me.jitsudo.updateUserProfile({ headers, body: { first_name: 'Zoë' } });
  assert.equal(changed.first_name, 'Zoë');
  const { data: profile } = await me.jitsudo.getUserProfile({ headers });
  assert.deepEqual(profile, changed);
});
