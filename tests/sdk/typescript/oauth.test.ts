import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused } from 'oneself-client';
import { connect, oauthIntrospectToken, scaikeyGetProfile } from 'oneself-client/functions';
import { newUser } from './new_user.ts';

test('a session is exchanged for a JWT', async () => {
  const program = createOneself({ baseUrl: newUser.url, client: newUser.client });
  const { data: tokens } = await program.oauth.issueToken({
    body: {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: newUser.session,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      scope: 'me/profile:read',
    },
  });
  assert.deepEqual([tokens.token_type, tokens.scope], ['Bearer', 'me/profile:read']);
  const token = async (): Promise<string> => tokens.access_token;
  const user = createOneself({ baseUrl: newUser.url, token });
  assert.equal((await user.scaikey.getProfile()).data.email, newUser.email);

  const { data: keys } = await program.oauth.getKeySet();
  assert.deepEqual(new Set(keys.keys.map((key) => key.alg)), new Set(['RS256']));

  // The same operations as functions, for tree-shaking.
  const client = connect({ baseUrl: newUser.url, client: newUser.client });
  const body = { token: tokens.access_token };
  assert.equal((await oauthIntrospectToken({ client, body })).data.active, true);
  await program.oauth.revokeToken({ body });
  assert.equal((await oauthIntrospectToken({ client, body })).data.active, false);
  await assert.rejects(scaikeyGetProfile({ client: connect({ baseUrl: newUser.url, token }) }), (error) =>
    isRefused(error, 'invalid_token'),
  );
});
