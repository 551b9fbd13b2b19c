// oauth4webapi: both methods with a secret, both kinds of metadata, and a resource server's checks.
import assert from "node:assert";
import * as jose from "jose";
import * as oauth from "oauth4webapi";

const { ONESELF_URL, SESSION, USER_ID, EMAIL, CLIENT_ID, CLIENT_SECRET, PUBLIC_ID } = process.env;
const issuer = new URL(ONESELF_URL);
// The service under test has no TLS.
const options = { [oauth.allowInsecureRequests]: true };
const client = { client_id: CLIENT_ID };
const exchange = {
  subject_token: SESSION,
  subject_token_type: "urn:ietf:params:oauth:token-type:access_token",
};
const grant = "urn:ietf:params:oauth:grant-type:token-exchange";

let server;
for (const algorithm of ["oidc", "oauth2"]) {
  const response = await oauth.discoveryRequest(issuer, { ...options, algorithm });
  server = await oauth.processDiscoveryResponse(issuer, response);
}
console.log("discovery");

const found = await oauth.resourceDiscoveryRequest(issuer, options);
const resource = await oauth.processResourceDiscoveryResponse(issuer, found);
assert.deepEqual(resource.authorization_servers, [ONESELF_URL]);
console.log("resource metadata");

const basic = oauth.ClientSecretBasic(CLIENT_SECRET);
const post = oauth.ClientSecretPost(CLIENT_SECRET);
let issued;
for (const method of [basic, post]) {
  const response = await oauth.genericTokenEndpointRequest(
    server, client, method, grant, exchange, options,
  );
  issued = await oauth.processGenericTokenEndpointResponse(server, client, response);
}
console.log("exchange");

// The checks of RFC 9068, by the published keys; and jose's, with the type of the token.
const profile = new URL("/v1/me", issuer);
const authorization = `Bearer ${issued.access_token}`;
const request = new Request(profile, { headers: { authorization } });
const claims = await oauth.validateJwtAccessToken(server, request, ONESELF_URL, options);
assert.equal(claims.sub, USER_ID);
const keys = jose.createRemoteJWKSet(new URL(server.jwks_uri));
const { payload } = await jose.jwtVerify(issued.access_token, keys, {
  issuer: ONESELF_URL, audience: ONESELF_URL, typ: "at+jwt",
});
assert.equal(payload.sub, USER_ID);
console.log("keys");

const answer = await oauth.protectedResourceRequest(
  issued.access_token, "GET", profile, undefined, undefined, options,
);
assert.equal((await answer.json()).data.email, EMAIL);
console.log("use");

async function introspect(token) {
  const response = await oauth.introspectionRequest(server, client, basic, token, options);
  return oauth.processIntrospectionResponse(server, client, response);
}
assert.equal((await introspect(issued.access_token)).sub, USER_ID);
console.log("introspection");

async function refresh(who, method, token) {
  const response = await oauth.refreshTokenGrantRequest(server, who, method, token, options);
  return oauth.processRefreshTokenResponse(server, who, response);
}
const renewed = await refresh(client, post, issued.refresh_token);
console.log("refresh");

async function revoke(who, method, token) {
  const response = await oauth.revocationRequest(server, who, method, token, options);
  await oauth.processRevocationResponse(response);
}
await revoke(client, basic, renewed.refresh_token);
assert.equal((await introspect(renewed.refresh_token)).active, false);
console.log("revocation");

const open = { client_id: PUBLIC_ID };
const response = await oauth.genericTokenEndpointRequest(
  server, open, oauth.None(), grant, exchange, options,
);
const held = await oauth.processGenericTokenEndpointResponse(server, open, response);
await revoke(open, oauth.None(), held.refresh_token);
await assert.rejects(refresh(open, oauth.None(), held.refresh_token), { error: "invalid_grant" });
console.log("public client");

// The challenge of a refusal is parsed, with its scope and the address of the metadata.
await assert.rejects(
  oauth.protectedResourceRequest("none", "GET", profile, undefined, undefined, options),
  (error) => {
    const [{ scheme, parameters }] = error.cause;
    assert.deepEqual([error.status, scheme, parameters.error], [401, "bearer", "invalid_token"]);
    return parameters.resource_metadata.startsWith(ONESELF_URL);
  },
);
console.log("refusals");
