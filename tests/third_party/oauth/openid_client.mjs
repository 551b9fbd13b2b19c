// openid-client with its defaults: the secret in the form, and the metadata of OpenID Connect.
import assert from "node:assert";
import * as client from "openid-client";

const { ONESELF_URL, SESSION, USER_ID, EMAIL, CLIENT_ID, CLIENT_SECRET, PUBLIC_ID } = process.env;
const issuer = new URL(ONESELF_URL);
// The service under test has no TLS.
const options = { execute: [client.allowInsecureRequests] };
const exchange = {
  subject_token: SESSION,
  subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
};
const grant = "urn:ietf:params:oauth:grant-type:token-exchange";

const config = await client.discovery(issuer, CLIENT_ID, CLIENT_SECRET, undefined, options);
assert.equal(config.serverMetadata().issuer, ONESELF_URL);
console.log("discovery");

const issued = await client.genericGrantRequest(config, grant, exchange);
assert.equal(issued.token_type, "bearer");
console.log("exchange");

const profile = new URL("/v1/me", issuer);
const answer = await client.fetchProtectedResource(config, issued.access_token, profile, "GET");
assert.equal((await answer.json()).data.email, EMAIL);
console.log("use");

const shown = await client.tokenIntrospection(config, issued.access_token);
assert.deepEqual([shown.active, shown.sub], [true, USER_ID]);
console.log("introspection");

const renewed = await client.refreshTokenGrant(config, issued.refresh_token);
assert.notEqual(renewed.refresh_token, issued.refresh_token);
console.log("refresh");

await client.tokenRevocation(config, renewed.refresh_token);
assert.equal((await client.tokenIntrospection(config, renewed.refresh_token)).active, false);
console.log("revocation");

// A public client has no secret, and gives its refresh token back (RFC 7009 section 2.1).
const open = await client.discovery(issuer, PUBLIC_ID, undefined, client.None(), options);
const held = await client.genericGrantRequest(open, grant, exchange);
await client.tokenRevocation(open, held.refresh_token);
const again = client.refreshTokenGrant(open, held.refresh_token);
await assert.rejects(again, { error: "invalid_grant" });
console.log("public client");

await assert.rejects(client.clientCredentialsGrant(config), { error: "unsupported_grant_type" });
const wrong = await client.discovery(issuer, CLIENT_ID, "wrong", undefined, options);
const guess = client.genericGrantRequest(wrong, grant, exchange);
// A 401 has a challenge (RFC 9110 section 15.5.2), which the library reports in place of the code.
await assert.rejects(guess, { status: 401, code: "OAUTH_WWW_AUTHENTICATE_CHALLENGE" });
console.log("refusals");
