// The current user by a session and by an API key, with the generated TypeScript client.
import { Configuration, IptoApi } from './client/index';

declare const process: { env: Record<string, string> };
const { ONESELF_URL: basePath, SESSION: accessToken, API_KEY: apiKey } = process.env;

async function email(configuration: Configuration): Promise<string> {
  return (await new IptoApi(configuration).iptoGetCurrentUser()).data.email;
}

async function main(): Promise<void> {
  console.log(await email(new Configuration({ basePath, accessToken })));
  console.log(await email(new Configuration({ basePath, apiKey })));
}

void main();
