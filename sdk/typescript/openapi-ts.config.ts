// Configures the generator of the TypeScript SDK; build.py sets the input and the output.
import { defineConfig, type UserConfig } from '@hey-api/openapi-ts';

const { ONESELF_DOCUMENT: input = '', ONESELF_GENERATED: folder = '' } = process.env;

function generated(name: string, operations: object): UserConfig {
  return {
    input,
    output: { path: `${folder}/${name}`, module: { extension: '.js' } },
    logs: { level: 'warn' },
    plugins: [
      { name: '@hey-api/client-fetch', throwOnError: true },
      '@hey-api/typescript',
      { name: '@hey-api/sdk', operations },
    ],
  };
}

export default defineConfig([
  generated('dialects', { strategy: 'single', containerName: 'Dialects', nesting: 'operationId' }),
  generated('functions', { strategy: 'flat' }),
]);
