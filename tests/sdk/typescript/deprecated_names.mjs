// Prints the deprecated names in a file: node deprecated_names.mjs TYPESCRIPT FILE

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [, , library, file] = process.argv;
const { default: ts } = await import(pathToFileURL(library).href);

const options = {
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
  types: [],
  strict: true,
  noEmit: true,
};
const service = ts.createLanguageService({
  ...ts.sys,
  useCaseSensitiveFileNames: () => ts.sys.useCaseSensitiveFileNames,
  getCompilationSettings: () => options,
  getDefaultLibFileName: ts.getDefaultLibFilePath,
  getScriptFileNames: () => [file],
  getScriptSnapshot: (name) => (ts.sys.fileExists(name) ? ts.ScriptSnapshot.fromString(readFileSync(name, 'utf8')) : undefined),
  getScriptVersion: () => '1',
});
// Editors strike through nothing in code that does not compile.
for (const each of service.getSemanticDiagnostics(file)) throw new Error(ts.flattenDiagnosticMessageText(each.messageText, '\n'));
for (const each of service.getSuggestionDiagnostics(file)) {
  if (each.reportsDeprecated) console.log(each.file.text.slice(each.start, each.start + each.length));
}
