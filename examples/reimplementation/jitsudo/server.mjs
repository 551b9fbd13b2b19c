// jitsudo's account API in one file, written from its pages.
//
//     node server.mjs --port 8000 > people.json
//
// Users are in memory and end with the process. The three that it starts with are printed as a
// credentials file for the conformance tests.

import { createHmac, randomBytes, randomUUID, scryptSync, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

const MIN_PASSWORD_LENGTH = 10;
const MAX_BODY = 512 * 1024;
const PROFILE_LIMITS = {
  first_name: 100,
  last_name: 100,
  display_name: 100,
  avatar_base64: 256 * 1024,
};
const TOKEN_SECONDS = 3600;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const SIGNING_KEY = randomBytes(32);

/** An error with a status and the fields of the pages' error object. */
class ApiError extends Error {
  constructor(status, code, message, { details, headers } = {}) {
    super(message);
    Object.assign(this, { status, code, details, headers });
  }
}

const invalid = (message, details) => new ApiError(400, "invalid_input", message, { details });
const unauthenticated = (message = "Sign in to continue.") =>
  new ApiError(401, "unauthenticated", message, { headers: { "WWW-Authenticate": "Bearer" } });

// Users and passwords

const users = new Map();

function hashPassword(password) {
  const salt = randomBytes(16);
  return { salt, hash: scryptSync(password, salt, 32) };
}

// For SSO and unknown users: without a hash, the response time would show which users exist.
const NO_PASSWORD = { salt: Buffer.alloc(16), hash: Buffer.alloc(32) };

function isPasswordOf(user, password) {
  const { salt, hash } = user?.password ?? NO_PASSWORD;
  return timingSafeEqual(scryptSync(password, salt, 32), hash);
}

function createUser(fields, password) {
  const user = {
    id: randomUUID(),
    auth_provider: "local",
    first_name: null,
    last_name: null,
    display_name: null,
    avatar_base64: null,
    ...fields,
    password: password === undefined ? null : hashPassword(password),
  };
  users.set(user.id, user);
  return user;
}

// Tokens: JWTs signed with a key of this process

const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
const sign = (text) => createHmac("sha256", SIGNING_KEY).update(text).digest();

function issueToken(user) {
  const expiresAt = Math.floor(Date.now() / 1000) + TOKEN_SECONDS;
  const claims = { sub: user.id, exp: expiresAt };
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode(claims)}`;
  const token = `${text}.${sign(text).toString("base64url")}`;
  return { token, expires_at: new Date(expiresAt * 1000).toISOString() };
}

function readToken(token) {
  const end = token.lastIndexOf(".");
  const signature = Buffer.from(token.slice(end + 1), "base64url");
  const expected = sign(token.slice(0, Math.max(end, 0)));
  if (signature.length !== expected.length || !timingSafeEqual(signature, expected)) {
    throw unauthenticated();
  }
  const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
  if (claims.exp * 1000 <= Date.now()) throw unauthenticated();
  return users.get(claims.sub);
}

/** Return the user of the token, who must belong to the tenant in the header. */
function authenticate(request) {
  const [, token] = /^bearer +(\S+)$/i.exec(request.headers.authorization ?? "") ?? [];
  if (token === undefined) throw unauthenticated();
  const user = readToken(token);
  const tenant = request.headers["x-tenant-id"];
  if (!UUID.test(tenant)) throw invalid("The header X-Tenant-ID must be a UUID.");
  if (tenant.toLowerCase() !== user.tenant) {
    throw new ApiError(403, "tenant_mismatch", "Your credential belongs to another tenant.");
  }
  return user;
}

// Bodies

async function readBody(request) {
  let size = 0;
  const chunks = [];
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY) throw new ApiError(413, "too_large", "The body is too large.");
    chunks.push(chunk);
  }
  try {
    const body = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (typeof body === "object" && body !== null && !Array.isArray(body)) return body;
  } catch {
    // Rejected below, like a body that is not an object.
  }
  throw invalid("Malformed request body.");
}

function readStrings(body, ...names) {
  const missing = names.filter((name) => typeof body[name] !== "string");
  if (missing.length) throw invalid("Malformed request body.", { missing });
  return names.map((name) => body[name]);
}

// Operations

async function logIn(request) {
  const [email, password] = readStrings(await readBody(request), "email", "password");
  const user = [...users.values()].find((each) => each.email === email.toLowerCase());
  if (!isPasswordOf(user, password)) throw unauthenticated("Invalid email or password.");
  return { status: 200, body: issueToken(user) };
}

async function changePassword(request) {
  const user = authenticate(request);
  if (user.auth_provider !== "local") {
    throw new ApiError(403, "not_local", "Your password is managed by your identity provider.");
  }
  const body = await readBody(request);
  const [current, changed] = readStrings(body, "current_password", "new_password");
  if (!isPasswordOf(user, current)) throw invalid("The current password is not correct.");
  if (changed.length < MIN_PASSWORD_LENGTH) {
    throw invalid("The new password is too weak.", { min_length: MIN_PASSWORD_LENGTH });
  }
  user.password = hashPassword(changed);
  return { status: 204 };
}

function getProfile(request) {
  const user = authenticate(request);
  const { id, email, auth_provider, first_name, last_name, display_name, avatar_base64 } = user;
  const name = display_name || [first_name, last_name].filter(Boolean).join(" ") || email;
  const names = { name, first_name, last_name, display_name };
  return { status: 200, body: { id, email, auth_provider, ...names, avatar_base64 } };
}

async function updateProfile(request) {
  const user = authenticate(request);
  const body = await readBody(request);
  const changes = {};
  for (const [name, limit] of Object.entries(PROFILE_LIMITS)) {
    const value = body[name];
    if (value === undefined) continue;
    if (value !== null && (typeof value !== "string" || value.length > limit)) {
      throw invalid(`Invalid ${name}.`, { max_length: limit });
    }
    if (user.auth_provider !== "local" && ["first_name", "last_name"].includes(name)) {
      throw invalid(`${name} is managed by your identity provider.`);
    }
    changes[name] = value;
  }
  if (changes.avatar_base64 && !changes.avatar_base64.startsWith("data:image/")) {
    throw invalid("avatar_base64 must be the data URI of an image.");
  }
  Object.assign(user, changes);
  return getProfile(request);
}

const OPERATIONS = new Map([
  ["/v1/auth/login", { POST: logIn }],
  ["/v1/users/me/password", { POST: changePassword }],
  ["/v1/users/me/profile", { GET: getProfile, HEAD: getProfile, PUT: updateProfile }],
]);

async function answer(request) {
  const methods = OPERATIONS.get(request.url.split("?")[0]);
  if (!methods) throw new ApiError(404, "not_found", "There is nothing here.");
  const operation = methods[request.method];
  if (operation) return operation(request);
  const headers = { Allow: Object.keys(methods).join(", ") };
  throw new ApiError(405, "method_not_allowed", "Use another method.", { headers });
}

function renderError(error) {
  if (!(error instanceof ApiError)) {
    console.error(error);
    return renderError(new ApiError(500, "internal", "Something went wrong."));
  }
  const { status, headers, code, message, details } = error;
  return { status, headers, body: { code, message, ...(details && { details }) } };
}

const server = createServer(async (request, response) => {
  const { status, headers, body } = await answer(request).catch(renderError);
  response.writeHead(status, {
    ...headers,
    ...(body && { "Content-Type": "application/json; charset=utf-8" }),
    "Cache-Control": "no-store",
  });
  response.end(body && JSON.stringify(body));
});

function createPeople() {
  const password = "correct horse battery";
  const [acme, globex] = [randomUUID(), randomUUID()];
  const people = {
    base: createUser({ email: "john@acme.example", tenant: acme }, password),
    other_tenant: createUser({ email: "jane@globex.example", tenant: globex }, password),
    sso_user: createUser({ email: "jim@acme.example", tenant: acme, auth_provider: "oidc" }),
  };
  const credentials = Object.entries(people).map(([name, user]) => {
    const { token } = issueToken(user);
    const login = user.password ? { email: user.email, password } : { email: user.email };
    return [name, { ...login, tenant_uuid: user.tenant, session_token: token }];
  });
  return Object.fromEntries(credentials);
}

const { values } = parseArgs({ options: { port: { type: "string", default: "8000" } } });
console.log(JSON.stringify(createPeople()));
server.listen(Number(values.port), "127.0.0.1");
