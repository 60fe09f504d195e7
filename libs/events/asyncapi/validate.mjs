// Reads AsyncAPI documents with the reference parser. Prints one sentence per error; status 1 if any.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const parser = new Parser();
let errors = 0;
for (const path of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(path, "utf8"));
  for (const found of diagnostics.filter((d) => d.severity === 0)) {
    console.error(`${path}: ${found.path.join(".")}: ${found.message} (${found.code})`);
    errors += 1;
  }
  if (document) {
    console.log(`${path}: ${document.channels().length} channels, ${document.messages().length} messages`);
  }
}
process.exitCode = errors ? 1 : 0;
