import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused, NotModified } from 'oneself-client';
import { newUser } from './new_user.ts';

const me = createOneself({ baseUrl: newUser.url, token: newUser.session });

test('settings are merged', async () => {
  await me.hantera.replaceSettings({ body: { theme: 'dark', panes: { left: 240 } } });
  const { data } = await me.hantera.updateSettings({ body: { theme: null, panes: { right: 120 } } });
  assert.deepEqual(data, { panes: { left: 240, right: 120 } });
});

test('a picture is a file with a media type', async () => {
  const { data: profile } = await me.hantera.uploadPicture({ body: new Blob([newUser.picture], { type: 'image/png' }) });
  assert.ok(profile.picture);
  const { data: picture, response } = await me.hantera.getPicture();
  assert.equal(picture.type, 'image/webp');
  const tag = response.headers.get('ETag') ?? '';
  await assert.rejects(me.hantera.getPicture({ headers: { 'If-None-Match': tag } }), NotModified);
  await me.hantera.removePicture();
  await assert.rejects(me.hantera.getPicture(), (error) => isRefused(error, 'not_found'));
});

test('a personal access token works until it is revoked', async () => {
  const { data: created } = await me.hantera.createPat({
    body: {
      name: 'deploy',
      expiresAt: new Date(Date.now() + 30 * 86_400_000).toISOString(),
      scopes: ['me/profile:read'],
      clientId: newUser.client.id,
      clientSecret: newUser.client.secret,
    },
  });
  const program = createOneself({ baseUrl: newUser.url, token: created.token });
  assert.equal((await program.hantera.getProfile()).data.email, newUser.email);
  assert.deepEqual((await me.hantera.listPats()).data.map((each) => each.id), [created.id]);
  assert.equal((await me.hantera.getPat({ path: { id: created.id } })).data.name, 'deploy');
  await me.hantera.revokePat({ path: { id: created.id } });
  const { error } = await me.hantera.getPat({ path: { id: created.id }, throwOnError: false });
  assert.equal(error?.code, 'not_found');
  assert.equal(error?.status, 404);
  await assert.rejects(program.hantera.getProfile(), (error) => isRefused(error, 'invalid_token'));
});

test('an address is changed with the secret', async () => {
  const email = `new.${newUser.email}`;
  const { data: change } = await me.hantera.requestEmailChange({ body: { email } });
  assert.equal((await me.hantera.getProfile()).data.pendingEmail, email);
  const { identityId, secret = '' } = change;
  const { data: changed } = await me.hantera.validateEmailChange({ body: { identityId, secret } });
  assert.deepEqual(changed, { email, emailVerified: false });
});
