// Slides of which no µm/px is known: a person is asked for it, for all of them at once or for each. Nothing is guessed.

import { html, useState } from './vendor/preact.js';
import { post } from './api.js';

const long = (micrometres) => (micrometres >= 1000 ? `${(micrometres / 1000).toPrecision(2)} mm` : `${Math.round(micrometres)} µm`);

function Field({ slide, name, value, change, fallback, children }) { // fallback: what is said of all of them
  const mpp = +(value || fallback);
  return html`<label><input type="number" step="any" inputmode="decimal" placeholder=${fallback || 'as 0.5'} value=${value}
    aria-label=${`µm/px of ${name}`} onInput=${(event) => change(event.target.value)} /> µm/px</label>${children}
    ${slide && html`<span class="fine">${slide.width} × ${slide.height} px${mpp > 0 ? `, then ${long(slide.width * mpp)} × ${long(slide.height * mpp)}` : ''}${slide.hint ? `; ${slide.hint}` : ''}</span>`}`;
}

export function useScales(waiting) { // what was written so far, and what it says of each slide
  const [all, setAll] = useState('');
  const [each, setEach] = useState({});
  const scales = Object.fromEntries(waiting.map(({ name }) => [name, each[name] || all]).filter(([, value]) => value).map(([name, value]) => [name, +value]));
  return { all, setAll, each, setEach, scales };
}

export function Ask({ waiting, all, setAll, each, setEach, open, children }) { // open: show the field of each; children: stand beside the first field
  const own = (slide, beside) => html`<${Field} slide=${slide} name=${slide.name} value=${each[slide.name] || ''} fallback=${all}
    change=${(value) => setEach({ ...each, [slide.name]: value })}>${beside}<//>`;
  return html`${waiting.length === 1 ? html`<p class="row"><span>No µm/px is known of <b>${waiting[0].name}</b>:</span> ${own(waiting[0], children)}</p>`
    : html`<p class="row"><span>No µm/px is known of <b>${waiting.length} slides</b>; all of them:</span> <${Field} name="all of them" value=${all} change=${setAll}>${children}<//></p>
      <details open=${open}><summary>or each of them</summary><ul class="each">${waiting.map((one) => html`<li class="row" key=${one.name}><b>${one.name}</b> ${own(one)}</li>`)}</ul></details>`}
    <p class="fine">How wide a pixel is says how large cells look to the model and what areas are in mm², so it is not guessed: about 0.25 at 40×, 0.5 at 20×, 1 at 10×.</p>`;
}

export function Scales({ waiting, attempt, later }) { // later: leave it for now
  const said = useScales(waiting);
  const ready = Object.keys(said.scales).length > 0;
  const use = (event) => {
    event.preventDefault();
    attempt(() => post('/api/scales', { scales: said.scales }));
  };
  return html`<form class="note scales" aria-label="µm/px of slides" onSubmit=${use}><div><${Ask} waiting=${waiting} ...${said}><button class="main" disabled=${!ready}>use</button><//></div>
    ${later && html`<button type="button" class="quiet" onClick=${later}>later</button>`}</form>`;
}
