// Render the document, in the color scheme of the system, which can change at any time.
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
  // Otherwise a validator on another host would get the document.
  validatorUrl: null,
  // The default theme has too little contrast for numbers.
  syntaxHighlight: { theme: 'tomorrow-night' },
});

// The dialog for credentials focuses its last field and scrolls there; most users need the first one.
let dialog = null;
new MutationObserver(() => {
  const shown = document.querySelector('.modal-ux');
  if (shown === dialog) return;
  dialog = shown;
  dialog?.querySelector('input')?.focus();
}).observe(document.getElementById('document'), { childList: true, subtree: true });
