// A full training as it goes: which stage, how far, and its losses and validation score by step.

import { html, useState, useEffect } from './vendor/preact.js';
import { get } from './api.js';
import { about } from './time.js';

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 150, 40, 412, 12, 122];
const DASHES = ['', '8 5', '2 5', '12 4 2 4'];
const FEW = 24; // points that are drawn as such, too
const HIDDEN = ['learning_rate', 'val_map_error'];
const SCORES = { val_map: 'mAP on held-out patches, %', val_miou: 'mIoU on held-out masks, %' };

function Lines({ label, series, steps, most, band }) { // series: [name, points, class, dash]; band: [step, low, high]
  const x = (step) => LEFT + ((RIGHT - LEFT) * step) / steps;
  const y = (value) => BOTTOM - ((BOTTOM - TOP) * Math.min(value, most)) / most;
  const marks = [0, most / 2, most];
  const edge = [...band.map(([step, low]) => `${x(step)},${y(low)}`), ...band.slice().reverse().map(([step, , high]) => `${x(step)},${y(high)}`)];
  return html`<figure class="lines"><figcaption>${label}${series.length > 1 && series.map(([name, , kind, dash]) => html`
      <span><svg viewBox="0 0 24 8" aria-hidden="true"><line x1="0" x2="24" y1="4" y2="4" class=${kind} stroke-dasharray=${dash} /></svg> ${name}</span>`)}</figcaption>
    <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} class="curve" role="img" aria-label=${`${label}, by step`}>
      ${marks.map((at) => html`<g><line x1=${LEFT} x2=${RIGHT} y1=${y(at)} y2=${y(at)} class="rule" /><text x=${LEFT - 6} y=${y(at) + 5} text-anchor="end">${+at.toPrecision(2)}</text></g>`)}
      <polygon points=${edge.join(' ')} class="band" />
      ${series.map(([, points, kind, dash]) => html`<polyline points=${points.map(([step, value]) => `${x(step)},${y(value)}`).join(' ')} class=${kind} stroke-dasharray=${dash} />`)}
      ${series.map(([, points, kind]) => kind === 'line' && points.length <= FEW && points.map(([step, value]) => html`<circle cx=${x(step)} cy=${y(value)} r="3" class="point" />`))}
      <text x=${LEFT} y=${HEIGHT - 8}>0</text><text x=${RIGHT} y=${HEIGHT - 8} text-anchor="end">step ${steps}</text></svg></figure>`;
}

function round(value) { // up, to a round number, so that the axis does not move with every step
  const unit = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((times) => times * unit).find((one) => one >= value);
}

function Curves({ curves, steps }) {
  const losses = Object.entries(curves).filter(([name]) => !name.startsWith('val_') && !HIDDEN.includes(name));
  const parts = losses.filter(([name]) => name !== 'total');
  const drawn = [...losses.filter(([name]) => name === 'total').map(([name, points]) => [name, points, 'line', '']),
    ...(parts.length > 1 ? parts : []).map(([name, points], index) => [name.replaceAll('_', ' '), points, 'part', DASHES[index % DASHES.length]])];
  const highest = Math.max(...drawn.flatMap(([, points]) => points.map(([, value]) => value)), 1e-6);
  const error = new Map(curves.val_map_error || []);
  return html`${Object.keys(SCORES).filter((name) => curves[name]).map((name) => {
    const points = curves[name].map(([step, value]) => [step, 100 * value]);
    const spread = name === 'val_map' ? points.filter(([step]) => error.has(step)).map(([step, value]) => [step, Math.max(0, value - 100 * error.get(step)), Math.min(100, value + 100 * error.get(step))]) : [];
    return html`<${Lines} label=${SCORES[name]} steps=${steps} most=${100} band=${spread} series=${[[name, points, 'line', '']]} />`;
  })}${drawn.length > 0 && html`<${Lines} label="losses" steps=${steps} most=${round(highest)} band=${[]} series=${drawn} />`}`;
}

function far({ state, progress }, running) { // how far a stage is, in words
  if (state === 'done') return 'done';
  const at = progress && `step ${progress.step} of ${progress.steps}`;
  if (!running) return at ? `stopped at ${at}` : 'not begun';
  if (state === 'training') return `${at}${about(progress.left)}`;
  return { waiting: 'comes after', preparing: 'getting ready …', finishing: 'thresholds and how patches look …' }[state];
}

export function Training({ state }) {
  const [stages, setStages] = useState([]);
  const job = state.jobs.train;
  const running = job.code === null;
  useEffect(() => { get('/api/training').then(setStages, () => {}); }, [running ? state : job.command]); // what else is wrong is told elsewhere
  const shown = stages.filter((one) => Object.keys(one.curves).length).at(-1); // the curve of the stage under way, or the last
  const steps = shown && (shown.progress ? shown.progress.steps : Math.ceil(Math.max(...Object.values(shown.curves).flat().map(([step]) => step))));
  const unscored = shown && !Object.keys(SCORES).some((name) => shown.curves[name]) && (!shown.progress || shown.progress.step > steps / 3);
  return html`<div class="training">
    ${(running || stages.length > 1 || stages.some((one) => one.state !== 'done')) && html`<ol class=${stages.length > 1 ? 'stages' : 'stages only'}>
      ${stages.map((one) => html`<li>${one.title && `${one.title}: `}<b>${far(one, running)}</b>
        ${running && one.state === 'training' && html`<progress max=${one.progress.steps} value=${one.progress.step} aria-label="steps" />`}</li>`)}</ol>`}
    ${shown && html`<${Curves} curves=${shown.curves} steps=${steps} />`}
    ${unscored && html`<p class="fine">No score of held-out patches: whole slides are held out, at most a tenth of the labels, and none is as small.</p>`}</div>`;
}
