// A command to be copied. Where the clipboard is refused it is tried in the old way, with the text selected; and where that
// is refused too, the text stays selected, so that the usual keys copy it.

import { html, useState, useEffect, useRef } from './vendor/preact.js';

export function Command({ text, what }) {
  const code = useRef(null);
  const [said, setSaid] = useState('');
  useEffect(() => { setSaid(''); }, [text]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text); // not there at all unless the address is this machine's, or https
      setSaid('copied');
    } catch {
      getSelection().selectAllChildren(code.current);
      setSaid(document.execCommand('copy') ? 'copied' : 'selected: press Ctrl C (⌘ C) to copy it');
    }
  };
  if (!text) return null;
  return html`<div class="command"><code ref=${code} tabindex="0" aria-label=${`command: ${what}`}>${text}</code>
    <button onClick=${copy} aria-label=${`copy as command: ${what}`}>Copy as command</button><span class="fine" role="status">${said}</span></div>`;
}
