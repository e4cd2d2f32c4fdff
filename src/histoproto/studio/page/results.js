// What the maps of all slides say: areas and shares of each slide as it is finished, and its files.

import { html, useState, useEffect } from './vendor/preact.js';
import { get } from './api.js';

const WORDS = { 'tissue.geojson': 'outlines', 'tissue.ome.tif': 'OME-TIFF', 'areas.csv': 'areas', 'measures.csv': 'measures',
  'overview.png': 'picture', 'summary.csv': 'all slides as a table', 'summary.html': 'all slides as a page' };
const SHARES = { TSR: 'stroma in tumour and stroma together', TILs: 'lymphocytes in lymphocytes and stroma together' };
const small = (value, digits) => (value === null || value === undefined ? '–' : value.toFixed(digits));

export function Results({ state, attempt }) {
  const [found, setFound] = useState(null);
  useEffect(() => { attempt(() => get('/api/results'), true).then((now) => now && setFound(now)); }, [state]);
  if (!found) return null;
  const { slides, round } = found;
  const done = slides.filter((one) => !one.problem);
  const colours = Object.fromEntries(state.project.tissues.map((one) => [one.name, one.colour]));
  const tissues = [...new Set(done.flatMap((one) => Object.keys(one.mm2)))];
  const shares = Object.keys(SHARES).filter((name) => done.some((one) => name in one.shares));
  const address = (...parts) => `/api/results/${[round, ...parts].map(encodeURIComponent).join('/')}`;
  const link = (name, ...parts) => html`<a href=${address(...parts, name)} download>${WORDS[name]}</a> `;
  return html`<section class="card wide results"><h2>Areas on all slides <small>maps of round ${round}: ${done.length} of ${found.of} slides${round < state.round ? `; the last round is ${state.round}` : ''}</small></h2>
    ${slides.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="areas on all slides"><table>
      <thead><tr><th scope="col">slide</th>${tissues.map((name) => html`<th scope="col" class="tissue" style=${`--tissue: ${colours[name] || 'var(--soft)'}`}>${name}<small> mm²</small></th>`)}
        ${shares.map((name) => html`<th scope="col" title=${SHARES[name]}>${name}</th>`)}<th scope="col" title="share of the tissue where the model is less than 60 % sure of it">doubtful</th><th scope="col">files</th></tr></thead>
      <tbody>${slides.map((one) => html`<tr key=${one.name}><th scope="row"><a href=${`#slides/${encodeURIComponent(one.name)}`}>${one.name}</a></th>
        ${one.problem ? html`<td colspan=${tissues.length + shares.length + 1} class="warn">${one.problem}</td>`
          : html`${tissues.map((name) => html`<td>${small(one.mm2[name], 2)}<small> ${small(one.percent[name], 0)} %</small></td>`)}
            ${shares.map((name) => html`<td>${small(one.shares[name], 0)} %</td>`)}<td>${small(one.doubtful, 0)} %</td>`}
        <td class="files">${one.files.map((name) => link(name, one.name))}</td></tr>
        ${one.sentences.length > 0 && html`<tr class="told"><td colspan=${tissues.length + shares.length + 3}>${one.sentences.join(' · ')}</td></tr>`}`)}</tbody></table></div>`}
    <p class="row">${found.files.map((name) => html`<a class="button" href=${address(name)} download>${WORDS[name]}</a>`)}</p>
    <p class="fine">As <code>segment</code> counted them; shares are of all tissue. ${shares.map((name) => `${name}: ${SHARES[name]}. `)}</p></section>`;
}
