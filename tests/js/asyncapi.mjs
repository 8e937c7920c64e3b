// Judges an AsyncAPI document by the official JSON schema of its version, and what was said on the
// wires by the document. On stdin `{document, said: [[channel, message, payload], …]}`; prints what
// is wrong.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import addFormats from "ajv-formats";
import Ajv from "ajv";

const require = createRequire(import.meta.url);
const { document, said } = JSON.parse(readFileSync(0, "utf8"));

function judge(ajv, schema, value, name) {
  if (!ajv.validate(schema, value)) {
    for (const { instancePath, message, params } of ajv.errors) {
      console.log(name, instancePath, message, JSON.stringify(params));
    }
  }
}

// It brings the schema of schemas along, which Ajv would have too: `meta` is that one.
const official = new Ajv({ allErrors: true, strict: false, meta: false, validateSchema: false });
const schema = require(`@asyncapi/specs/schemas/${document.asyncapi}.json`);
judge(addFormats(official), schema, document, "document");

const own = addFormats(new Ajv({ strict: false, validateSchema: false }));
own.addSchema(document, "chatd");
for (const [channel, message, payload] of said) {
  const $ref = `chatd#/channels/${channel}/messages/${message}/payload`;
  judge(own, { $ref }, payload, `${channel} ${message}`);
}
