// All keys on one sheet.

import { html, useEffect, useRef } from './vendor/preact.js';

const KEYS = [
  ['1 … 9', 'tick a tissue; with shift: only this one'], ['0', 'none of these: background'], ['a', 'accept the model’s guess'],
  ['u', 'unsure'], ['x', 'exclude: blur, pen, fold'], ['⏎ space →', 'next tile'], ['← ⌫', 'back'], ['s', 'skip'],
  ['z, ctrl z', 'undo'], ['y, ctrl shift z', 'redo'], ['b', 'blind: hide or show the guess'], ['c', 'closer, or with surroundings'], ['f', 'find tiles like this one'],
  ['l', 'learn now'], ['m', 'on a slide: hide the map while held'], ['1 … 9', 'on a slide: correct the tile that was clicked'], ['?', 'this sheet'],
];

export function Keys({ close, tissues }) {
  const dialog = useRef(null);
  useEffect(() => { dialog.current.showModal(); }, []);
  return html`<dialog ref=${dialog} onClose=${close} onClick=${(event) => event.target === dialog.current && close()}>
    <h2>Keys</h2>
    <dl>${tissues.map((one, index) => html`<dt><kbd>${index + 1}</kbd></dt><dd>${one.name}</dd>`)}
    ${KEYS.map(([key, what]) => html`<dt><kbd>${key}</kbd></dt><dd>${what}</dd>`)}</dl>
    <p><button onClick=${close}>Close</button></p></dialog>`;
}
