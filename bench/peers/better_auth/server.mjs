// Better Auth on Node: /api/auth/get-session with its cookie; the session is read from the database each time.
//
// As in its documentation for node:http and Node's own SQLite, with two exceptions. The cookie cache is off, because
// it would bypass the database; and the rate limiter is off, because it would reject the load. Its bearer plugin and
// its joins are off, as by default: both made it slower.
//
// `node server.mjs prepare` creates tables and a user, and prints the cookie; `node server.mjs PORT` serves in one
// process. PEER_DATABASE is the path of the SQLite file. Set NODE_ENV=production before the start, since the library
// reads it on import.
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";

const database = new DatabaseSync(process.env.PEER_DATABASE);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");

const options = {
  // Without the port: the origin of cookies, from which changes must come.
  baseURL: "http://127.0.0.1",
  secret: "abcdefghijklmnopqrstuvwxyz0123456789",
  database,
  emailAndPassword: { enabled: true },
  // An additional field for a request to change.
  user: { additionalFields: { locale: { type: "string", required: false } } },
  session: { cookieCache: { enabled: false } },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
};
const auth = betterAuth(options);

async function prepare() {
  const { runMigrations } = await getMigrations(options);
  await runMigrations();
  const { headers } = await auth.api.signUpEmail({
    body: { name: "Alice Chen", email: "alice.chen@example.com", password: "n3wS3cur3P@ss!" },
    returnHeaders: true,
  });
  const [cookie] = headers.get("set-cookie").split(";");
  console.log(`Cookie: ${cookie}`);
}

const [argument] = process.argv.slice(2);
if (argument === "prepare") {
  await prepare();
} else {
  createServer(toNodeHandler(auth)).listen({ port: Number(argument), host: "127.0.0.1", backlog: 4096 });
}
