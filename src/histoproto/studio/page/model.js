// The model: how good it is, where it contradicts a label, and what can be taken home.

import { html, useState, useEffect } from './vendor/preact.js';
import { get, post } from './api.js';

function Curve({ scores }) {
  const known = scores.filter((one) => one.average_precision !== null);
  if (known.length < 2) return null;
  const most = Math.max(...known.map((one) => one.labels));
  const x = (labels) => 40 + (540 * labels) / most;
  const y = (value) => 170 - 150 * value;
  const line = (key) => known.map((one) => `${x(one.labels)},${y(one[key])}`).join(' ');
  const band = `${line('low')} ${known.slice().reverse().map((one) => `${x(one.labels)},${y(one.high)}`).join(' ')}`;
  return html`<svg viewBox="0 0 600 200" class="curve" role="img" aria-label="mean average precision over labels given">
    ${[0, 0.5, 1].map((at) => html`<g><line x1="40" x2="580" y1=${y(at)} y2=${y(at)} class="rule" /><text x="34" y=${y(at) + 4} text-anchor="end">${100 * at}</text></g>`)}
    <polygon points=${band} class="band" /><polyline points=${line('average_precision')} class="line" />
    <text x="310" y="195" text-anchor="middle">labels trained on (up to ${most})</text></svg>`;
}

export function Model({ state, attempt, setPicked }) {
  const [against, setAgainst] = useState([]);
  useEffect(() => { if (state.round) attempt(() => get('/api/disagreements')).then((found) => found && setAgainst(found)); }, [state.round]);
  const last = state.scores.at(-1);
  const job = (kind, title, what, ready) => {
    const now = state.jobs[kind];
    const running = now && now.code === null;
    return html`<section class="card"><h2>${title}</h2><p>${what}</p>
      <p class="row">${running ? html`<button onClick=${() => attempt(() => post('/api/job/stop', { kind }))}>Stop</button>`
        : html`<button class="main" disabled=${!ready} onClick=${() => attempt(() => post('/api/job', { kind }))}>Start</button>`}
      ${now && html`<span role="status">${running ? 'running' : now.code === 0 ? 'finished' : `ended with exit code ${now.code}`}</span>`}</p>
      ${now && html`<pre>${now.words}</pre><p class="fine">as a command: <code>${now.command}</code></p>`}</section>`;
  };
  return html`<main class="model">
    <section class="card"><h2>How good is it?</h2>
      ${last && last.average_precision !== null ? html`<p>Round ${state.round}, ${last.labels} labels: mean average precision
        <b>${(100 * last.average_precision).toFixed(1)}</b> (95 % interval ${(100 * last.low).toFixed(1)} to ${(100 * last.high).toFixed(1)}),
        F1 ${(100 * last.f1).toFixed(1)}, on ${last.checks} random tiles that were never trained on.</p>`
        : html`<p>Not known yet: label a few of the random checks that the queue asks for.</p>`}
      <${Curve} scores=${state.scores} />
      ${state.advice.map((one) => html`<p class="advice">${one.text}</p>`)}</section>
    <section class="card wide"><h2>Labels that the model contradicts</h2>
      ${against.length ? html`<div class="grid">${against.map((one) => html`<button class="cell" onClick=${() => { setPicked(one); location.hash = 'label'; }}>
        <img src=${`/api/tile/${one.tile}/picture`} alt="" /><small>${one.label && (one.label.ticks.join(', ') || 'none')} · ${one.reason}</small></button>`)}</div>`
        : html`<p>None.</p>`}</section>
    ${job('train', 'Full training', 'Trains on all labels in a process of its own, which goes on when this page or the server is closed.', state.labels.all >= 8)}
    ${job('segment', 'Map all slides', 'Writes outlines for QuPath, OME-TIFF, areas and pictures of every slide with the last model; finished slides are skipped.', state.round > 0)}
    <section class="card"><h2>Take home</h2><p class="row">
      <a class="button" href="/api/download/labels.zip" download>labels as a data folder</a>
      ${state.round > 0 && html`<a class="button" href="/api/download/model.zip" download>the model</a>`}</p></section>
  </main>`;
}
