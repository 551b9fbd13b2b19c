// Better Auth on Node: /api/auth/get-session, with its cookie and a session out of the database at every request.
//
// As its documentation has it for node:http and Node's own SQLite, with two exceptions. The session is not kept in a
// cookie as well, because then the database would not be asked; and the rate limiter is off, because it would refuse
// the load. Its bearer plugin and its joins stay off as they are by default: with either it answered fewer requests.
//
// `node server.mjs prepare` makes tables and a person, and prints their cookie; `node server.mjs PORT` serves, in one
// process. PEER_DATABASE is the path of the SQLite file. NODE_ENV=production is for whoever starts it to say: the
// library reads it when it is imported.
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { toNodeHandler } from "better-auth/node";

const database = new DatabaseSync(process.env.PEER_DATABASE);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");

const options = {
  // Whatever the port: it is the origin that cookies are for, and that a change has to come from.
  baseURL: "http://127.0.0.1",
  secret: "abcdefghijklmnopqrstuvwxyz0123456789",
  database,
  emailAndPassword: { enabled: true },
  // One field beyond those of the library, for a change that changes something.
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
