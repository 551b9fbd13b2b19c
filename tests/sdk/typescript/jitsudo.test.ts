import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself } from 'oneself-client';
import { newcomer, newPassword } from './newcomer.ts';

test('the password is changed in its tenant and no other', async () => {
  const me = createOneself({ baseUrl: newcomer.url, token: newcomer.session });
  const body = { current_password: newcomer.password, new_password: newPassword };
  const { error } = await me.jitsudo.changePassword({
    headers: { 'X-Tenant-ID': crypto.randomUUID() },
    body,
    throwOnError: false,
  });
  assert.equal(error?.code, 'tenant_mismatch');
  const { response } = await me.jitsudo.changePassword({ headers: { 'X-Tenant-ID': newcomer.tenantUuid }, body });
  assert.equal(response.status, 204);
  const { data: login } = await me.ipto.logIn({ body: { email: newcomer.email, password: newPassword } });
  assert.match(login.data.session_token ?? '', /^sess_/);
});
