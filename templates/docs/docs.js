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
});
