import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused, iterate, MfaRequired } from 'oneself-client';
import { newUser, newPassword } from './new_user.ts';

test('a user signs up and changes the password', async () => {
  const email = `other.${newUser.email}`;
  const password = newUser.password;
  const visitor = createOneself({ baseUrl: newUser.url });
  await visitor.ipto.signUp({
    body: { email, password, display_name: 'Alice Chen', tenant_name: 'Acme Corp' },
  });
  await assert.rejects(visitor.ipto.logIn({ body: { email, password: 'wrong-Passw0rd' } }), (error) =>
    isRefused(error, 'invalid_credentials'),
  );
  const { data: login } = await visitor.ipto.logIn({ body: { email, password } });

  const me = createOneself({ baseUrl: newUser.url, token: login.data.session_token ?? '' });
  const { data: user } = await me.ipto.getCurrentUser();
  assert.deepEqual([user.data.email, user.data.display_name, user.data.roles], [email, 'Alice Chen', ['owner']]);
  assert.equal(user.data.email_verified, false);

  // As a value instead of an exception, the error has its documented type.
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
  const program = createOneself({ baseUrl: newUser.url, apiKey: key.data.key });
  assert.equal((await program.scaikey.getProfile()).data.email, email);
  await assert.rejects(program.ipto.listApiKeys(), (error) => isRefused(error, 'insufficient_scope'));
  const revoked = await me.ipto.revokeApiKey({ path: { api_key_id: key.data.api_key_id } });
  assert.equal(revoked.response.status, 204);
  await assert.rejects(program.scaikey.getProfile(), (error) => isRefused(error, 'invalid_token'));

  const { data: page } = await me.ipto.listEvents({ query: { limit: 1 } });
  assert.equal(page.data.items.length, 1);
  const events = [];
  for await (const event of iterate((query) => me.ipto.listEvents({ query: { limit: 1, ...query } }))) {
    events.push(event);
  }
  const { data: whole } = await me.ipto.listEvents({ query: { limit: 100 } });
  assert.ok(whole.data.items.length > 2);
  const eventIds = events.map((event) => event.event_id);
  // Listing is recorded itself, so the one request has newer events.
  assert.deepEqual(eventIds, whole.data.items.map((each) => each.event_id).filter((id) => eventIds.includes(id)));
  await me.ipto.revokeOtherSessions();
  const { data: sessions } = await me.ipto.listSessions();
  assert.deepEqual(sessions.data.items.map((each) => each.current), [true]);
  await me.ipto.logOut();
  await assert.rejects(me.ipto.getCurrentUser(), (error) => isRefused(error, 'invalid_token'));
});

test('a login with a second factor says so', async () => {
  const { email, password } = newUser;
  const visitor = createOneself({ baseUrl: newUser.url });
  const email2 = `factor.${email}`;
  const { data: signup } = await visitor.ipto.signUp({
    body: { email: email2, password, display_name: 'Alice Chen', tenant_name: 'Acme Corp' },
  });
  assert.match(signup.data.session_token, /^sess_/);
  // Without a factor it is a session.
  const { data: login } = await visitor.ipto.logIn({ body: { email: email2, password } });
  assert.match(login.data.session_token ?? '', /^sess_/);
  // With one it is an error, whose secret no console prints.
  const body = { data: { mfa_required: true, challenge_id: 'secret', methods: ['totp'], enrollment_required: false } };
  const waiting = createOneself({
    baseUrl: newUser.url,
    fetch: () => Promise.resolve(Response.json(body)),
  });
  await assert.rejects(waiting.ipto.logIn({ body: { email: email2, password } }), (error) => {
    assert.ok(error instanceof MfaRequired);
    assert.deepEqual([error.challengeId, error.methods], ['secret', ['totp']]);
    assert.ok(!JSON.stringify(error).includes('secret'));
    return true;
  });
});
