// A new project: its tissues, scale and tile.

import { html, useState } from './vendor/preact.js';
import { Ask, useScales } from './scales.js';

export function Setup({ state, create, problem }) {
  const preset = Object.values(state.presets)[0];
  const row = (name, index) => ({ name, colour: state.colours[index % state.colours.length] });
  const [tissues, setTissues] = useState(preset.map(row));
  const [mpp, setMpp] = useState(0.5);
  const [tile, setTile] = useState(128);
  const said = useScales(state.waiting);
  const change = (index, part) => setTissues(tissues.map((one, i) => (i === index ? { ...one, ...part } : one)));
  const submit = (event) => {
    event.preventDefault();
    create({ tissues: tissues.filter((one) => one.name.trim()).map((one) => ({ ...one, name: one.name.trim() })), mpp, tile, scales: said.scales });
  };
  return html`<main class="setup"><form onSubmit=${submit}>
    <h1>A new project</h1>
    <p>${state.slides.length} slide${state.slides.length === 1 ? '' : 's'}: ${state.slides.slice(0, 4).join(', ')}${state.slides.length > 4 ? ' …' : ''}</p>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <h2>Which tissues?</h2>
    <div class="row">${Object.entries(state.presets).map(([title, names]) => html`
      <button type="button" class="preset" onClick=${() => setTissues(names.map(row))}>${title}</button>`)}</div>
    <ol class="tissues">${tissues.map((one, index) => html`<li>
      <input type="color" aria-label=${`colour of tissue ${index + 1}`} value=${one.colour} onInput=${(e) => change(index, { colour: e.target.value })} />
      <input required maxlength="40" aria-label=${`name of tissue ${index + 1}`} value=${one.name} onInput=${(e) => change(index, { name: e.target.value })} />
      <button type="button" class="quiet" aria-label=${`remove ${one.name}`} disabled=${tissues.length < 2} onClick=${() => setTissues(tissues.filter((_, i) => i !== index))}>remove</button>
    </li>`)}</ol>
    <button type="button" class="quiet" disabled=${tissues.length > 8} onClick=${() => setTissues([...tissues, row('', tissues.length)])}>add a tissue</button>
    <h2>How large is a tile?</h2>
    <p class="row">
      <label>µm/px <input type="number" min="0.1" max="10" step="0.05" value=${mpp} onInput=${(e) => setMpp(+e.target.value)} /></label>
      <label>side <select value=${tile} onChange=${(e) => setTile(+e.target.value)}>
        ${[128, 160, 192, 224].map((side) => html`<option value=${side}>${side} px = ${Math.round(side * mpp)} µm</option>`)}
      </select></label></p>
    ${state.waiting.length > 0 && html`<h2>How wide is a pixel?</h2><${Ask} waiting=${state.waiting} ...${said} open />`}
    <p><button class="main">Start</button></p>
  </form></main>`;
}
