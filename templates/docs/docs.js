// Draws the document. Whether it is light or dark is the system's to say, and may change meanwhile.
const dark = window.matchMedia('(prefers-color-scheme: dark)');
function follow() {
  document.documentElement.classList.toggle('dark-mode', dark.matches);
}
dark.addEventListener('change', follow);
follow();

window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#document',
  deepLinking: true,
  docExpansion: 'list',
  filter: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: -1,
  // Else the document would be shown to a validator on another host.
  validatorUrl: null,
  // The numbers of the usual one are too faint on its ground.
  syntaxHighlight: { theme: 'tomorrow-night' },
});

// The dialog for credentials puts the cursor into the last, and scrolls there; most people have the first.
let dialog = null;
new MutationObserver(() => {
  const shown = document.querySelector('.modal-ux');
  if (shown === dialog) return;
  dialog = shown;
  dialog?.querySelector('input')?.focus();
}).observe(document.getElementById('document'), { childList: true, subtree: true });
