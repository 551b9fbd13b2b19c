// Search, links to operations, and "Try it". The page is complete without it.
const KEY = 'oneself.credentials';
const BEARER = ['session', 'accessToken', 'personalAccessToken', 'jwt'];
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// ── Credentials: in this tab only, and gone when it closes ─────────────────────────────────────────

const read = () => JSON.parse(sessionStorage.getItem(KEY) ?? '{}');

function store(credentials) {
  sessionStorage.setItem(KEY, JSON.stringify(credentials));
  showCredentials();
}

function forget() {
  sessionStorage.removeItem(KEY);
  showCredentials();
}

function showCredentials() {
  const credentials = read();
  const isEmpty = !Object.values(credentials).some(Boolean);
  find('.user .name').textContent = credentials.user ?? '';
  find('#edit-credentials').textContent = isEmpty ? 'Add a credential' : 'Credentials';
  find('#sign-out').hidden = isEmpty;
  for (const form of all('.try')) find('.credential', form).textContent = chosen(form, credentials).label;
}

/** Return the one credential that an operation gets, as a header with a label. */
function chosen(form, { token, apiKey, clientId, clientSecret }) {
  const schemes = form.dataset.schemes.split(' ');
  if (schemes.includes('client') && clientId) {
    const pair = [clientId, clientSecret ?? ''].map(encodeURIComponent).join(':');
    return { name: 'Authorization', value: `Basic ${btoa(pair)}`, label: 'Sends the client.' };
  }
  if (token && BEARER.some((scheme) => schemes.includes(scheme))) {
    return { name: 'Authorization', value: `Bearer ${token}`, label: 'Sends your token.' };
  }
  if (apiKey && schemes.includes('apiKey')) return { name: 'X-API-Key', value: apiKey, label: 'Sends your API key.' };
  return { label: form.dataset.schemes === '' ? 'Needs no credential.' : 'You have no credential for it yet.' };
}

async function signOut() {
  const { token = '' } = read();
  const form = find(`.try[data-operation="${document.body.dataset.logOut}"]`);
  forget();
  if (form && token.startsWith('sess_')) {
    const { method, path } = form.dataset;
    await fetch(path, { method, credentials: 'omit', headers: { Authorization: `Bearer ${token}` } });
  }
}

// ── Try it ─────────────────────────────────────────────────────────────────────────────────────────

function requestOf(form) {
  const { method, path } = form.dataset;
  const headers = new Headers();
  const query = new URLSearchParams();
  let url = path;
  for (const { name, value, dataset } of all('[data-place]', form)) {
    if (dataset.place === 'path') url = url.replace(`{${name}}`, encodeURIComponent(value));
    else if (value !== '' && dataset.place === 'query') query.append(name, value);
    else if (value !== '') headers.set(name, value);
  }
  const credential = chosen(form, read());
  if (credential.name) headers.set(credential.name, credential.value);
  // A cookie beside another credential would be one too many; a log-in can set one.
  const credentials = credential.name ? 'omit' : 'same-origin';
  return { url: query.size ? `${url}?${query}` : url, method, headers, credentials, body: bodyOf(form, headers) };
}

function bodyOf(form, headers) {
  const file = find('[type="file"]', form)?.files[0];
  if (file) {
    headers.set('Content-Type', file.type);
    return file;
  }
  const area = find('textarea', form);
  if (area === null) return undefined;
  headers.set('Content-Type', area.dataset.mediaType);
  if (area.dataset.mediaType !== 'application/x-www-form-urlencoded') return area.value;
  return new URLSearchParams(JSON.parse(area.value)).toString();
}

async function send(form) {
  const button = find('.act button', form);
  const status = find('.status', form);
  button.disabled = true;
  status.className = 'status';
  status.textContent = 'Sending…';
  find('.answer', form).hidden = true;
  try {
    const { url, ...options } = requestOf(form);
    const started = performance.now();
    const response = await fetch(url, options);
    await show(form, response, Math.round(performance.now() - started));
  } catch (error) {
    status.className = 'status bad';
    status.textContent = `Not sent or not answered: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

async function show(form, response, milliseconds) {
  const type = response.headers.get('Content-Type') ?? '';
  const blob = await response.blob();
  const isJson = /[/+]json/.test(type);
  const body = isJson ? JSON.parse(await blob.text()) : undefined;
  const status = find('.status', form);
  status.className = `status ${response.ok ? 'good' : 'bad'}`;
  status.textContent = `${response.status} ${response.statusText} in ${milliseconds} ms`.replace('  ', ' ');
  find('.headers', form).textContent = [...response.headers].map(([name, value]) => `${name}: ${value}`).join('\n');
  find('.answer .body', form).textContent = isJson ? JSON.stringify(body, null, 2) : blob.size ? `${blob.size} bytes of ${type}` : '';
  find('.answer', form).hidden = false;
  if (!response.ok) return;
  if (form.dataset.operation === document.body.dataset.logOut) forget();
  // A sign-up or a log-in answers with a session.
  const { session_token: token, email } = body?.data ?? body ?? {};
  if (token) store({ ...read(), token, user: email });
}

// ── Search ─────────────────────────────────────────────────────────────────────────────────────────

const operations = all('.dialect .operation').map((element) => {
  const text = `${element.id} ${find('summary', element).textContent}`;
  return { element, isOperation: find('.try', element) !== null, text: text.replace(/\s+/g, ' ').toLowerCase() };
});

function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let matches = 0;
  for (const { element, isOperation, text } of operations) {
    element.hidden = words.length > 0 && !(isOperation && words.every((word) => text.includes(word)));
    if (isOperation && !element.hidden) matches += 1;
  }
  for (const section of all('.dialect')) section.hidden = all('.operation', section).every((each) => each.hidden);
  for (const part of all('#introduction > :not(h1)')) part.hidden = words.length > 0;
  find('#matches').textContent = words.length ? `${matches} ${matches === 1 ? 'operation' : 'operations'}` : '';
}

// ── Links ──────────────────────────────────────────────────────────────────────────────────────────

/** Open the folded parts around the target of the address. */
function follow() {
  // The address of an operation was `#/dialect/operation` once.
  const id = decodeURIComponent(location.hash.slice(1)).replace(/^\/(.*\/)?/, '');
  const target = document.getElementById(id);
  if (target === null) return;
  if (target.closest('[hidden]')) {
    find('#search').value = '';
    search('');
  }
  for (let part = target.closest('details'); part; part = part.parentElement.closest('details')) part.open = true;
  target.scrollIntoView();
}

// ── Start ──────────────────────────────────────────────────────────────────────────────────────────

const dialog = find('#credentials');
const fields = find('form', dialog);

find('#edit-credentials').addEventListener('click', () => {
  const credentials = read();
  for (const input of all('input', fields)) input.value = credentials[input.name] ?? '';
  dialog.showModal();
});
find('#cancel').addEventListener('click', () => dialog.close());
find('#sign-out').addEventListener('click', signOut);
fields.addEventListener('submit', (event) => {
  event.preventDefault();
  const { token, user } = read();
  const entered = Object.fromEntries([...new FormData(fields)].map(([name, value]) => [name, value.trim()]));
  store({ ...entered, user: entered.token === token ? user : '' });
  dialog.close();
});
dialog.addEventListener('close', () => fields.reset());

for (const form of all('.try')) {
  form.hidden = false;
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    send(form);
  });
}
for (const samples of all('.samples')) {
  samples.addEventListener('change', ({ target }) => {
    for (const input of all(`.samples input[value="${target.value}"]`)) input.checked = true;
  });
  const copy = find('.copy', samples);
  copy.hidden = navigator.clipboard === undefined;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(all('pre', samples).find((each) => each.checkVisibility()).textContent);
    copy.textContent = 'Copied';
    setTimeout(() => (copy.textContent = 'Copy'), 2000);
  });
}
for (const { element } of operations) {
  find('summary', element).addEventListener('click', () => history.replaceState(null, '', `#${element.id}`));
}
find('#search').addEventListener('input', ({ target }) => search(target.value));
find('search').hidden = false;
find('.user').hidden = false;
addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.target.matches('input, textarea')) return;
  event.preventDefault();
  find('#search').focus();
});
addEventListener('hashchange', follow);
showCredentials();
follow();
