// Takes out of package-lock.json what is no part of a pin: the pages where authors take donations, and the prose of
// deprecations. What stays are names, versions and integrity hashes, and no address. `npm run lock` runs it.
import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(file, "utf8"));
for (const entry of Object.values(lock.packages)) {
  delete entry.funding;
  delete entry.deprecated;
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
