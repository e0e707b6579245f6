// node check_structure.mjs FOLDER RELEASE FILE...: what Medplum's checker says of each file, as one JSON object.
// RELEASE is r4 or r5, whose own definitions it goes by.
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';

const [folder, release, ...files] = process.argv.slice(2);
const core = createRequire(`${folder}/core/package/`)('./dist/cjs/index.cjs');
for (const name of readdirSync(`${folder}/${release}`)) {
  const definition = JSON.parse(readFileSync(`${folder}/${release}/${name}`, 'utf8'));
  if (definition.resourceType === 'StructureDefinition') core.loadDataType(definition);
}
const told = {};
for (const file of files) {
  try {
    core.validateResource(JSON.parse(readFileSync(file, 'utf8')));
    told[file] = [];
  } catch (error) {
    told[file] = (error.outcome?.issue ?? [{ details: { text: String(error) } }]).map((issue) => issue.details?.text);
  }
}
console.log(JSON.stringify(told));
