// har-validator: `node archive.mjs FILE` prints why a file is not an HTTP archive, or nothing.
import { readFileSync } from "node:fs";
import { har } from "har-validator";

har(JSON.parse(readFileSync(process.argv[2], "utf8"))).catch(({ errors }) => {
  console.log(JSON.stringify(errors));
  process.exitCode = 1;
});
