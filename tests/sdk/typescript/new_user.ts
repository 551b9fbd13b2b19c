// A user, created by the Python test that runs this.

function read(name: string): string {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
}

export const newUser = {
  url: read('ONESELF_URL'),
  email: read('EMAIL'),
  password: read('PASSWORD'),
  session: read('SESSION'),
  tenantUuid: read('TENANT_UUID'),
  client: { id: read('CLIENT_ID'), secret: read('CLIENT_SECRET') },
  picture: new Uint8Array(Buffer.from(read('PICTURE'), 'base64')),
};

export const newPassword = 'n3wS3cur3P@ss!';
