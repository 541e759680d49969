// Light or dark: what was chosen last, else what the system prefers. Runs in the head, before the first paint.
const root = document.documentElement;
function storedTheme() {
  try { return localStorage.getItem('recoder-theme'); } catch { return null; }
}
root.dataset.theme = storedTheme() ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light');
function toggleTheme() {
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark';
  try { localStorage.setItem('recoder-theme', root.dataset.theme); } catch { /* a page without storage forgets it */ }
}
