import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOneself, isRefused } from 'oneself-client';
import { connect, oauthIntrospectToken, scaikeyGetProfile } from 'oneself-client/functions';
import { newcomer } from './newcomer.ts';

test('a session is exchanged for a JWT', async () => {
  const program = createOneself({ baseUrl: newcomer.url, client: newcomer.client });
  const { data: tokens } = await program.oauth.issueToken({
    body: {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: newcomer.session,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      scope: 'me/profile:read',
    },
  });
  assert.deepEqual([tokens.token_type, tokens.scope], ['Bearer', 'me/profile:read']);
  const token = async (): Promise<string> => tokens.access_token;
  const user = createOneself({ baseUrl: newcomer.url, token });
  assert.equal((await user.scaikey.getProfile()).data.email, newcomer.email);

  const { data: keys } = await program.oauth.getKeySet();
  assert.deepEqual(new Set(keys.keys.map((key) => key.alg)), new Set(['RS256']));

  // The same operations as functions, for whoever bundles what they ship.
  const client = connect({ baseUrl: newcomer.url, client: newcomer.client });
  const body = { token: tokens.access_token };
  assert.equal((await oauthIntrospectToken({ client, body })).data.active, true);
  await program.oauth.revokeToken({ body });
  assert.equal((await oauthIntrospectToken({ client, body })).data.active, false);
  await assert.rejects(scaikeyGetProfile({ client: connect({ baseUrl: newcomer.url, token }) }), (error) =>
    isRefused(error, 'invalid_token'),
  );
});
