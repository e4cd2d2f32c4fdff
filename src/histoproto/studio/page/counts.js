// How much was labelled, and what would help most.

import { html } from './vendor/preact.js';

export function Counts({ state, seek }) {
  const { labels, advice } = state;
  const most = Math.max(1, ...Object.values(labels.ticks));
  return html`<div class="counts"><h2>${labels.all} labels <small>${labels.checks} of them checks, ${labels.unsure} unsure, ${labels.excluded} excluded</small></h2>
    ${state.project.tissues.map((one) => html`<p><span>${one.name}</span><i style=${`--tissue: ${one.colour}; width: ${(60 * labels.ticks[one.name]) / most}%`}></i>${labels.ticks[one.name]}</p>`)}
    <${Advice} advice=${advice} seek=${seek} /></div>`;
}

export function Advice({ advice, seek }) {
  return html`<ul class="advice">${advice.map((one) => html`<li>${one.text} <button onClick=${() => seek(one)}>show such tiles</button></li>`)}</ul>`;
}
