// Removes from package-lock.json everything that is not part of a pin: funding links and deprecation notices. Names,
// versions and integrity hashes stay. `npm run lock` runs it, here and in bench/peers/better_auth, on the lock file of
// the current folder.
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.deprecated;
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
