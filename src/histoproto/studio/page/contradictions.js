// Labels that the model contradicts: one of the two is wrong.

import { html, useState, useEffect } from './vendor/preact.js';
import { get } from './api.js';

export function Contradictions({ state, who, attempt, say: save, setPicked }) {
  const [tiles, setTiles] = useState(null);
  const load = () => attempt(() => get('/api/disagreements')).then((found) => found && setTiles(found));
  useEffect(() => { load(); }, [state.round]);
  const names = state.project.tissues.map((one) => one.name);
  const say = async (tile, ticks, reason) => {
    const kept = await save({ who, tile: tile.tile, verdict: 'label', ticks, reason });
    if (kept) setTiles((before) => before.filter((one) => one.tile !== tile.tile));
  };
  const seen = (tile) => names.filter((name) => tile.guess[name] >= 0.5);
  const words = (ticks) => ticks.join(', ') || 'none of these';
  return html`<main class="contradictions">
    <h2>Labels that the model contradicts <small>${tiles ? tiles.length : ''}</small></h2>
    <p class="fine">The most flagrant first. A wrong label is mended with one click; a right one that is kept teaches the
      next round what it does not see yet, and is not asked about again until then.</p>
    ${!tiles || !tiles.length ? html`<p class="empty">${state.round ? (tiles ? 'none: labels and model agree' : 'looking …') : 'there is no model yet: learn a first round'}</p>`
      : html`<ul class="pairs">${tiles.map((tile) => html`<li class="card" data-tile=${tile.tile} key=${tile.tile}>
        <button class="cell" onClick=${() => { setPicked([tile]); location.hash = 'label'; }} aria-label=${`open tile ${tile.tile}`}>
          <img src=${`/api/tile/${tile.tile}/picture`} alt="" /></button>
        <div><p class="fine">${tile.reason}${tile.label.who ? ` · labelled by ${tile.label.who}` : ''}</p>
          <p class="row"><button onClick=${() => say(tile, tile.label.ticks, 'kept against the model')}>keep: <b>${words(tile.label.ticks)}</b></button></p>
          <p class="row"><button class="mend" onClick=${() => say(tile, seen(tile), 'as the model says')}>mend: <b>${words(seen(tile))}</b></button></p></div>
      </li>`)}</ul>`}
  </main>`;
}
