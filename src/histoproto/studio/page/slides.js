// A slide, the map of a round over it or two rounds side by side, and a click that corrects.

import { html, useState, useEffect, useMemo, useRef } from './vendor/preact.js';
import { get } from './api.js';
import { List } from './list.js';
import { Pane } from './pane.js';
import { Spot } from './spot.js';
import { about } from './time.js';

const FROM_AFAR = 4; // pixels of the model per pixel of the screen, from which on maps are not computed
const STEPS = 20; // times that a map seen from afar is drawn anew while the rest of it is computed
const ON = [true]; // one object, so that nothing is painted anew for its sake

export function told({ done, of, left, waits, problem }) { // how far the map of a slide is, in words
  if (problem) return problem;
  if (done >= of) return 'map of this slide: complete';
  return `map of this slide: ${done} of ${of} pieces${waits ? ', waits for the round that is learnt' : about(left)}`;
}

export function Slides({ state, who, attempt, say, setPicked, where }) {
  const [name, ...rest] = where.rest;
  const prototype = rest[0] === 'prototype' ? { tissue: +rest[1], number: +rest[2] } : null; // what fires where
  const [x, y, zoom] = prototype ? rest.slice(3) : rest;
  const found = state.slides.find((one) => one.name === name) || state.slides[0];
  const slide = found && { ...found, coarse: Math.floor(Math.log2(FROM_AFAR * state.project.mpp / found.mpp)) };
  const start = useMemo(() => [x, y, zoom], [name, x, y, zoom]);
  const { rounds } = state;
  const tissues = state.project.tissues;
  const last = state.scores.at(-1);
  const remark = (name) => (last?.untaught.includes(name) ? ' · not learnt yet' : last?.everywhere.includes(name) ? ' · the rest' : '');
  const [round, setRound] = useState(null); // null: the last
  const [beside, setBeside] = useState(null); // another round, shown at the left
  const [opacity, setOpacity] = useState(0.45);
  const [mode, setMode] = useState('tissues');
  const [shown, setShown] = useState(tissues.map(() => true));
  const [spot, setSpot] = useState(null);
  const [hidden, setHidden] = useState(false);
  const tie = useRef(new Set());
  const number = round || state.round;
  const fires = prototype && tissues[prototype.tissue] && { name: `prototype ${prototype.number + 1} of ${tissues[prototype.tissue].name}`,
    colour: tissues[prototype.tissue].colour };
  const look = fires ? { tissues: [fires], shown: ON, mode: `chance of ${fires.name}` } : { tissues, shown, mode };

  useEffect(() => {
    const turn = (on) => (event) => {
      if (event.key === 'm' && !event.target.matches('input, select')) setHidden(on);
    };
    const down = turn(true); const up = turn(false); const away = () => setHidden(false);
    addEventListener('keydown', down); addEventListener('keyup', up); addEventListener('blur', away);
    return () => { removeEventListener('keydown', down); removeEventListener('keyup', up); removeEventListener('blur', away); };
  }, []);
  useEffect(() => { setSpot(null); }, [slide && slide.name]);
  useEffect(() => { // a new round: what it says of the tile in hand
    if (spot) get(`/api/tile/${spot.tile}`).then((fresh) => setSpot((now) => (now && now.tile === fresh.tile ? fresh : now)), () => {});
  }, [state.round]);

  if (!slide) return html`<main class="empty"><p>${state.busy || (state.waiting.length ? 'a slide is listed here as soon as its µm/px is known' : '') || 'there are no slides in this project'}</p></main>`;
  const pick = async (atX, atY) => {
    const tile = await attempt(() => get(`/api/at?slide=${encodeURIComponent(slide.name)}&x=${atX}&y=${atY}`));
    if (tile) setSpot(tile);
  };
  const moved = fires ? null : (middleX, middleY, times) =>
    history.replaceState(null, '', `#slides/${encodeURIComponent(slide.name)}/${middleX}/${middleY}/${times}`);
  const { ahead } = state;
  const follows = ahead && ahead.slide === slide.name ? ahead : null; // who goes on with the map of this slide
  const stateOf = (one) => (follows && follows.round === one && follows.of ? Math.floor(STEPS * follows.done / follows.of) : 0);
  const shared = { slide, look, opacity: hidden ? 0 : opacity, start, tie, picked: spot, onPick: pick,
    onFail: (address) => attempt(() => get(address), true) }; // what the server says is wrong with it
  const layerOf = (one) => (one ? `map/${one}` : null);
  const main = fires ? `prototype/${state.round}/${prototype.tissue}/${prototype.number}` : layerOf(number);
  return html`<main class="slides">
    <aside>
      ${spot && html`<${Spot} key=${spot.tile} tile=${spot} state=${state} who=${who} say=${say} close=${() => setSpot(null)}
        open=${(tile) => { setPicked([tile]); location.hash = 'label'; }} />`}
      <${List} slides=${state.slides} shown=${slide} more=${prototype ? rest.slice(0, 3) : []} />
      ${fires && html`<p class="firing">Where ${fires.name} fires: the stronger, the more colour. <a href=${`#slides/${encodeURIComponent(slide.name)}`}>back to the map</a>
        · <a href=${`#prototypes/${encodeURIComponent(tissues[prototype.tissue].name)}`}>all prototypes</a></p>`}
      ${!fires && html`<label>map of <select value=${round || ''} onChange=${(event) => setRound(+event.target.value || null)}>
        <option value="">${state.round ? `the last round (${state.round})` : 'no round yet'}</option>
        ${rounds.map((one) => html`<option value=${one}>round ${one}</option>`)}</select></label>
      <label>beside it <select value=${beside || ''} disabled=${rounds.length < 2} onChange=${(event) => setBeside(+event.target.value || null)}>
        <option value="">nothing</option>
        ${rounds.filter((one) => one !== number).reverse().map((one) => html`<option value=${one}>round ${one}</option>`)}</select></label>
      <label>shows <select value=${mode} onChange=${(event) => setMode(event.target.value)}>
        <option value="tissues">the likeliest tissue</option><option value="doubt">doubt</option>
        ${tissues.map((one) => html`<option value=${`chance of ${one.name}`}>chance of ${one.name}</option>`)}</select></label>
      ${follows && follows.of > 0 && html`<p class="fine follows" role="status">${told(follows)}</p>`}`}
      <label>opacity <input type="range" min="0" max="1" step="0.05" value=${opacity} onInput=${(event) => setOpacity(+event.target.value)} /></label>
      ${!spot && !fires && html`<ul class="chips legend">${tissues.map((one, index) => html`<li><button class="chip" style=${`--tissue: ${one.colour}`}
        aria-pressed=${shown[index]} onClick=${() => setShown(shown.map((on, i) => (i === index ? !on : on)))}>${one.name}${remark(one.name)}</button></li>`)}</ul>
      <p class="fine">hold <kbd>m</kbd> to hide the map; click a place that is wrong to correct it</p>`}
    </aside>
    <div class="stage">
      ${beside && !fires && html`<${Pane} key="beside" ...${shared} layer=${layerOf(beside)} state=${stateOf(beside)} title=${`round ${beside}`} />`}
      <${Pane} key="main" ...${shared} layer=${main} state=${fires ? 0 : stateOf(number)} title=${fires ? fires.name : beside ? `round ${number}` : ''} onMove=${moved} />
    </div>
  </main>`;
}
