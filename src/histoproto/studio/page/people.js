// Who labels with whom: how far people agree, tissue by tissue, and how much is read twice.

import { html, useState, useEffect } from './vendor/preact.js';
import { get, post } from './api.js';

const SHARES = [0, 0.05, 0.1, 0.2, 0.5];

function Kappa({ one }) { // a bar from chance (0) to full agreement (1), and the number
  if (!one) return html`<td>–</td>`;
  const said = `both ticked it on ${one.both} of ${one.tiles} tiles, neither on ${one.neither}`;
  if (one.kappa === null) return html`<td title=${`${said}: chance alone would agree on all`}>–</td>`;
  return html`<td title=${said}><span class="kappa"><i style=${`width: ${100 * Math.max(0, one.kappa)}%`}></i></span> ${one.kappa.toFixed(2).replace('-', '−')}</td>`;
}

export function People({ state, attempt }) {
  const [found, setFound] = useState([]);
  useEffect(() => { attempt(() => get('/api/agreement'), true).then((all) => all && setFound(all)); }, [state.labels.events]);
  const { tissues, doubles } = state.project;
  const pairs = [...new Map(found.map((one) => [one.people.join(' · '), one])).entries()];
  const of = (pair, name) => found.find((one) => one.people.join(' · ') === pair && one.tissue === name);
  const shares = SHARES.includes(doubles) ? SHARES : [...SHARES, doubles].sort((a, b) => a - b);
  return html`<section class="card people"><h2>Do people agree?</h2>
    ${pairs.length ? html`<table><thead><tr><th scope="col">Cohen’s κ</th>${pairs.map(([pair, one]) => html`<th scope="col">${pair} <small>${one.tiles} tiles</small></th>`)}</tr></thead>
      <tbody>${tissues.map((one) => html`<tr style=${`--tissue: ${one.colour}`}><th scope="row">${one.name}</th>${pairs.map(([pair]) => html`<${Kappa} one=${of(pair, one.name)} />`)}</tr>`)}</tbody></table>
      <p class="fine">On tiles that both labelled. 1: always; 0: no more than by chance.</p>`
      : html`<p>No tile has been labelled by two people yet.</p>`}
    <p class="row"><label>read twice <select value=${doubles} onChange=${(event) => attempt(() => post('/api/doubles', { share: +event.target.value }))}>
      ${shares.map((one) => html`<option value=${one}>${one ? `${100 * one} % of the tiles` : 'nothing'}</option>`)}</select></label></p></section>`;
}
