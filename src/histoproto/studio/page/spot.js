// A tile that was clicked on a slide, corrected there with one key.

import { html, useState, useEffect, useRef } from './vendor/preact.js';

export function Spot({ tile, state, who, say, open, close }) {
  const tissues = state.project.tissues;
  const standing = tile.label && tile.label.verdict === 'label' ? tile.label.ticks : [];
  const [said, setSaid] = useState(null); // ticks, and whether they are saved
  useEffect(() => { setSaid(null); }, [tile.tile]);
  const ticks = said ? said.ticks : standing;
  const save = (marks) => {
    setSaid({ ticks: marks, saved: 'saving …' });
    const body = { who, tile: tile.tile, verdict: 'label', ticks: marks, reason: tile.reason };
    say(body).then((kept) => {
      if (kept) tile.label = { verdict: 'label', ticks: marks, who };
      setSaid((before) => (before && before.ticks === marks ? { ticks: marks, saved: kept ? `saved: ${marks.join(', ') || 'none of these'}` : 'not saved' } : before));
    });
  };
  const toggle = (name, only) => save(only ? [name] : ticks.includes(name) ? ticks.filter((one) => one !== name) : [...ticks, name]);
  const act = useRef(() => {});
  act.current = (event) => {
    if (event.target.matches('input, textarea, select') || event.ctrlKey || event.metaKey || event.altKey) return;
    const digit = /^Digit([0-9])$/.exec(event.code);
    if (event.key === 'Escape') close();
    else if (digit && digit[1] === '0') save([]);
    else if (digit && tissues[digit[1] - 1]) toggle(tissues[digit[1] - 1].name, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  useEffect(() => { const pressed = (event) => act.current(event);
    addEventListener('keydown', pressed, true); return () => removeEventListener('keydown', pressed, true); }, []);

  return html`<section class="spot" aria-label="the tile that was clicked">
    <img src=${`/api/tile/${tile.tile}/picture`} alt=${`tile ${tile.tile}`} data-tile=${tile.tile} />
    <ul class="chips">${tissues.map((one, index) => html`<li><button class="chip" style=${`--tissue: ${one.colour}`} aria-pressed=${ticks.includes(one.name)}
      onClick=${(event) => toggle(one.name, event.shiftKey)}><kbd>${index + 1}</kbd> <span class="name">${one.name}</span>
      ${tile.guess && html`<span class="guess"><i style=${`width: ${100 * tile.guess[one.name]}%`}></i>${tile.guess[one.name].toFixed(2)}</span>`}</button></li>`)}</ul>
    <p class="saved" role="status" data-tile=${tile.tile}>${said ? said.saved : tile.label ? `labelled: ${standing.join(', ') || tile.label.verdict}` : 'tick what is in it; shift: only this'}</p>
    ${tile.checks && html`<p class="fine">A random check: it measures the model and is never trained on.</p>`}
    <p class="row"><button onClick=${() => save([])}><kbd>0</kbd> none</button><button onClick=${() => open(tile)}>Label this tile large</button>
      <button class="quiet" onClick=${close}>close</button></p>
  </section>`;
}
