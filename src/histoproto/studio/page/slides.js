// A slide in a viewer, its map over it, and a click that opens the tile there.

import { html, useState, useEffect, useRef } from './vendor/preact.js';
import { get } from './api.js';

const pieces = new Map(); // decoded pieces of maps by address, so that other colours need no other request
const MOST = 600;

async function indices(url) {
  if (pieces.has(url)) return pieces.get(url);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`no map at ${url}`);
  const bitmap = await createImageBitmap(await response.blob(), { colorSpaceConversion: 'none', premultiplyAlpha: 'none' });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const found = context.getImageData(0, 0, bitmap.width, bitmap.height);
  pieces.set(url, found);
  if (pieces.size > MOST) pieces.delete(pieces.keys().next().value);
  return found;
}

function painted(found, look) { // red is the tissue, green how sure
  const { data, width, height } = found;
  const out = new ImageData(width, height);
  const table = look.tissues.map((one) => [1, 3, 5].map((at) => parseInt(one.colour.slice(at, at + 2), 16)));
  for (let at = 0; at < data.length; at += 4) {
    const tissue = data[at];
    if (tissue >= table.length) continue;
    if (look.mode === 'doubt') {
      out.data[at] = 255; out.data[at + 1] = 80; out.data[at + 2] = 220;
      out.data[at + 3] = Math.min(255, Math.max(0, 2 * (255 - data[at + 1])));
    } else if (look.shown[tissue]) {
      [out.data[at], out.data[at + 1], out.data[at + 2]] = table[tissue];
      out.data[at + 3] = 255;
    }
  }
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext('2d');
  context.putImageData(out, 0, 0);
  return context;
}

function slideSource(slide) {
  return { width: slide.width, height: slide.height, tileSize: 256, tileOverlap: 0, minLevel: 8,
    getTileUrl: (level, x, y) => `/api/slide/${encodeURIComponent(slide.name)}/${level}/${x}_${y}.jpg` };
}

function mapSource(slide, round, look) {
  return { width: slide.width, height: slide.height, tileSize: 256, tileOverlap: 0, minLevel: 8,
    getTileUrl: (level, x, y) => `/api/map/${round}/${encodeURIComponent(slide.name)}/${level}/${x}_${y}.png`,
    downloadTileStart: (job) => {
      indices(job.src).then((found) => job.finish(painted(found, look.current), null, 'context2d'), (error) => job.fail(error.message, null));
    },
    downloadTileAbort: () => {} };
}

function spotOf(slide, round, at, tissues) { // what the finest piece that is there says of a place
  const top = Math.ceil(Math.log2(Math.max(slide.width, slide.height)));
  for (let level = top; level >= 8; level -= 1) {
    const scale = 2 ** (top - level);
    const [x, y] = [Math.floor(at.x / scale), Math.floor(at.y / scale)];
    const found = pieces.get(`/api/map/${round}/${encodeURIComponent(slide.name)}/${level}/${x >> 8}_${y >> 8}.png`);
    if (!found || (x & 255) >= found.width || (y & 255) >= found.height) continue;
    const place = 4 * ((y & 255) * found.width + (x & 255));
    const tissue = tissues[found.data[place]];
    return tissue ? `${tissue.name} ${(found.data[place + 1] / 255).toFixed(2)}` : 'background';
  }
  return '';
}

function scaleBar(umPerPixel) { // the longest round length of at most 160 px on the screen
  const most = 160 * umPerPixel;
  const unit = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((times) => times * unit).find((value) => value <= most);
  return { width: length / umPerPixel, text: length >= 1000 ? `${length / 1000} mm` : `${length} µm` };
}

export function Slides({ state, attempt, setPicked, where }) {
  const [name, x, y, zoom] = where.rest;
  const slide = state.slides.find((one) => one.name === name) || state.slides[0];
  const rounds = state.scores.length ? Array.from({ length: state.round }, (_, i) => i + 1) : [];
  const [round, setRound] = useState(null); // null: the last
  const [opacity, setOpacity] = useState(0.45);
  const [mode, setMode] = useState('tissues');
  const [shown, setShown] = useState(state.project.tissues.map(() => true));
  const [spot, setSpot] = useState(null);
  const [bar, setBar] = useState(null);
  const [under, setUnder] = useState('');
  const box = useRef(null);
  const viewer = useRef(null);
  const layer = useRef(null);
  const look = useRef(null);
  look.current = { tissues: state.project.tissues, shown, mode };
  const number = round || state.round;
  const shownRound = useRef(number);
  shownRound.current = number;

  useEffect(() => { // one viewer a slide
    if (!slide) return undefined;
    const made = OpenSeadragon({ element: box.current, drawer: 'canvas', prefixUrl: '', showNavigationControl: false,
      showNavigator: true, navigatorPosition: 'BOTTOM_RIGHT', tileSources: slideSource(slide), maxZoomPixelRatio: 8,
      gestureSettingsMouse: { clickToZoom: false }, animationTime: 0.4, timeout: 120000 });
    viewer.current = made;
    window.studioViewer = made; // for whoever tests the page
    made.addHandler('open', () => {
      if (x === undefined) return;
      const middle = made.world.getItemAt(0).imageToViewportCoordinates(+x, +y);
      made.viewport.zoomTo(+zoom || slide.width / 1200 * made.viewport.getHomeZoom(), null, true);
      made.viewport.panTo(middle, true);
    });
    made.addHandler('canvas-click', async (event) => {
      if (!event.quick) return; // a drag is not a click
      const at = made.world.getItemAt(0).viewerElementToImageCoordinates(event.position);
      const tile = await attempt(() => get(`/api/at?slide=${encodeURIComponent(slide.name)}&x=${at.x}&y=${at.y}`));
      if (tile) setSpot({ ...tile });
    });
    const moved = () => {
      const item = made.world.getItemAt(0);
      if (!item) return;
      const perPixel = slide.width / (made.viewport.getZoom(true) * made.container.clientWidth) * slide.mpp;
      setBar({ ...scaleBar(perPixel), times: 10 / perPixel });
    };
    made.addHandler('update-viewport', moved);
    made.addHandler('animation-finish', () => { // the address says what is on the screen; it can be sent to somebody
      const item = made.world.getItemAt(0);
      if (!item) return;
      const middle = item.viewportToImageCoordinates(made.viewport.getCenter());
      history.replaceState(null, '', `#slides/${encodeURIComponent(slide.name)}/${Math.round(middle.x)}/${Math.round(middle.y)}/${made.viewport.getZoom().toFixed(3)}`);
    });
    const hover = (event) => {
      const item = made.world.getItemAt(0);
      if (!item || !shownRound.current) return;
      const frame = box.current.getBoundingClientRect();
      const at = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(event.clientX - frame.left, event.clientY - frame.top));
      setUnder(spotOf(slide, shownRound.current, at, look.current.tissues));
    };
    box.current.addEventListener('pointermove', hover);
    return () => { layer.current = null; made.destroy(); };
  }, [slide && slide.name, x, y]);

  useEffect(() => { // the map of a round over it
    const made = viewer.current;
    if (!made || !number) return;
    const add = () => {
      const old = layer.current;
      made.addTiledImage({ tileSource: mapSource(slide, number, look), opacity, success: ({ item }) => {
        if (old && made.world.getIndexOfItem(old) >= 0) made.world.removeItem(old);
        layer.current = item;
      } });
    };
    if (made.isOpen()) add(); else made.addOnceHandler('open', add);
  }, [slide && slide.name, x, y, number]);
  useEffect(() => { if (layer.current) layer.current.setOpacity(opacity); }, [opacity]);
  useEffect(() => { if (layer.current) layer.current.reset(); }, [shown, mode]);
  useEffect(() => {
    const hide = (on) => (event) => {
      if (event.key === 'm' && layer.current && !event.target.matches('input, select')) layer.current.setOpacity(on ? 0 : opacity);
    };
    const down = hide(true); const up = hide(false);
    addEventListener('keydown', down); addEventListener('keyup', up);
    return () => { removeEventListener('keydown', down); removeEventListener('keyup', up); };
  }, [opacity]);

  if (!slide) return html`<main class="empty"><p>${state.busy || 'there are no slides in this project'}</p></main>`;
  const go = (tile) => { setPicked(tile); location.hash = 'label'; };
  return html`<main class="slides">
    <aside>
      <label>slide <select value=${slide.name} onChange=${(event) => { location.hash = `slides/${event.target.value}`; }}>
        ${state.slides.map((one) => html`<option value=${one.name}>${one.name} (${one.labels} labels)</option>`)}</select></label>
      <label>map of <select value=${round || ''} onChange=${(event) => setRound(+event.target.value || null)}>
        <option value="">${state.round ? `the last round (${state.round})` : 'no round yet'}</option>
        ${rounds.map((one) => html`<option value=${one}>round ${one}</option>`)}</select></label>
      <label>opacity <input type="range" min="0" max="1" step="0.05" value=${opacity} onInput=${(event) => setOpacity(+event.target.value)} /></label>
      <div role="group" aria-label="what the map shows" class="switch">
        <button aria-pressed=${mode === 'tissues'} onClick=${() => setMode('tissues')}>tissues</button>
        <button aria-pressed=${mode === 'doubt'} onClick=${() => setMode('doubt')}>doubt</button></div>
      <ul class="chips">${state.project.tissues.map((one, index) => html`<li><button class="chip" style=${`--tissue: ${one.colour}`}
        aria-pressed=${shown[index]} onClick=${() => setShown(shown.map((on, i) => (i === index ? !on : on)))}>${one.name}</button></li>`)}</ul>
      <p class="fine">hold <kbd>m</kbd> to hide the map; click a place that is wrong to label its tile</p>
      ${spot && html`<div class="spot"><img src=${`/api/tile/${spot.tile}/picture`} alt=${`tile ${spot.tile}`} />
        <ul>${state.project.tissues.map((one) => html`<li>${one.name} ${spot.guess ? spot.guess[one.name].toFixed(2) : ''}
          ${spot.label && spot.label.ticks.includes(one.name) ? ' ✓' : ''}</li>`)}</ul>
        <button class="main" onClick=${() => go(spot)}>Label this tile</button></div>`}
    </aside>
    <div class="stage"><div class="viewer" ref=${box} role="application" aria-label=${`slide ${slide.name}`}></div>
      ${bar && html`<p class="scale"><i style=${`width: ${bar.width}px`}></i>${bar.text} · ${bar.times.toPrecision(2)}×</p>`}
      ${under && html`<p class="under" role="status">${under}</p>`}</div>
  </main>`;
}
