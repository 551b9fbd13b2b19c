// Takes out of package-lock.json what is no part of a pin: the pages where authors take donations, and the prose of
// deprecations. What stays are names, versions and integrity hashes, and no address. `npm run lock` runs it, here and in
// bench/peers/better_auth, on the lock file of the folder that it is run in.
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.deprecated;
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
