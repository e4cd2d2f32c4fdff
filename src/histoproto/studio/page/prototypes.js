// What each prototype looks for: its tiles, how much of its tissue it covers, its name, and a switch.

import { html, useState, useEffect } from './vendor/preact.js';
import { get, post } from './api.js';

export function Prototypes({ state, attempt, setPicked, setGroup, where }) {
  const [found, setFound] = useState(null); // { round, all }
  const tissues = state.project.tissues;
  const { round } = state;
  const load = async () => {
    const all = round && await attempt(() => get(`/api/prototypes/${round}`));
    if (all) setFound({ round, all });
  };
  useEffect(() => { load(); }, [round]);
  if (!round) return html`<main class="empty"><p>there is no model yet: learn a first round</p></main>`;
  if (!found) return html`<main class="empty"><p>looking at what each prototype finds …</p></main>`;
  const chosen = tissues.findIndex((one) => one.name === where.rest[0]);
  const tissue = Math.max(0, chosen);
  const old = found.round !== round;
  const onSlide = ({ at, number }) => // where it fires most
    `#slides/${[at.slide, 'prototype', tissue, number, Math.round(at.x), Math.round(at.y)].map(encodeURIComponent).join('/')}`;
  const own = found.all.filter((one) => one.tissue === tissue).sort((a, b) => a.off - b.off || b.share - a.share);
  const body = (one, more) => ({ round: found.round, tissue: one.tissue, prototype: one.number, ...more });
  const name = async (one, text) => {
    if (text !== one.name && await attempt(async () => { await post('/api/prototype', body(one, { name: text })); return true; })) load();
  };
  const flip = (one) => attempt(() => post('/api/prototype/switch', body(one, { off: !one.off })));
  const open = async (tiles) => {
    const described = await attempt(() => Promise.all(tiles.map((tile) => get(`/api/tile/${tile}`))));
    if (described && tiles.length > 1) setGroup(described);
    if (described && tiles.length === 1) setPicked(described);
    if (described) location.hash = 'label';
  };
  const learning = state.learning && state.learning.working;
  return html`<main class="prototypes">
    <div class="row"><div class="switch" role="group" aria-label="of which tissue">${tissues.map((one, index) => html`
      <button aria-pressed=${index === tissue} onClick=${() => { location.hash = `prototypes/${encodeURIComponent(one.name)}`; }}>${one.name}</button>`)}</div>
      <p class="fine">Round ${found.round}${old ? `; round ${round} is being looked at …` : ''}. Outlined is where a prototype fires most in its tiles. One that
        learnt an artefact can be switched off: a new round goes on without it, and later ones too.</p></div>
    ${state.scores.at(-1)?.everywhere.includes(tissues[tissue].name) && html`<p class="warn">Every label has ${tissues[tissue].name}, so it is mapped wherever no other tissue is seen: its prototypes take no part.</p>`}
    <ul class="prototypes">${own.map((one) => html`<li class=${`card ${one.off ? 'off' : ''}`} key=${one.number} style=${`--tissue: ${tissues[tissue].colour}`}>
      <div class="row"><input aria-label=${`name of prototype ${one.number + 1}`} placeholder=${`prototype ${one.number + 1}`} value=${one.name} maxlength="60"
          onChange=${(event) => name(one, event.target.value.trim())} />
        <span class="share"><i style=${`width: ${100 * one.share}%`}></i>${one.off ? 'off' : `${(100 * one.share).toFixed(0)} % of ${tissues[tissue].name}`}</span>
        <span class="spring"></span>
        <a class="button" href=${onSlide(one)}>on the slide</a>
        <button onClick=${() => open(one.tiles)}>relabel its tiles</button>
        <button aria-pressed=${one.off} disabled=${learning || old} onClick=${() => flip(one)}>${one.off ? 'switch on' : 'switch off'}</button></div>
      <div class="strip">${one.tiles.map((tile) => html`<button class="cell" key=${tile} aria-label=${`tile ${tile}`} onClick=${() => open([tile])}>
        <img loading="lazy" src=${`/api/prototype/${found.round}/${one.tissue}/${one.number}/${tile}/picture`} alt="" /></button>`)}</div>
    </li>`)}</ul>
  </main>`;
}
