// A slide in a viewer with a map over it. Two of them can be tied together to move as one.

import { html, useState, useEffect, useRef } from './vendor/preact.js';
import { chancesAt, mapSource, slideSource } from './map.js';

const LONGEST_BAR = 160; // px on the screen
const TOLD_AGAIN = 5000; // ms after which another piece that cannot be had is told

function scaleBar(umPerPixel) {
  const most = LONGEST_BAR * umPerPixel;
  const unit = 10 ** Math.floor(Math.log10(most));
  const length = [5, 2, 1].map((times) => times * unit).find((value) => value <= most);
  return { width: length / umPerPixel, text: length >= 1000 ? `${length / 1000} mm` : `${length} µm` };
}

// slide: what is shown; layer: 'map/ROUND' or null; state: how much of it is computed; look: tissues, which are shown, mode; start: x, y, zoom to begin at
// tie: a ref that tied panes share; picked: a tile that is outlined; onPick(x, y); onMove(x, y, zoom); onFail(address) of a piece that cannot be had
export function Pane({ slide, layer, state, look, opacity, start, tie, picked, title, onPick, onMove, onFail }) {
  const box = useRef(null);
  const viewer = useRef(null);
  const over = useRef(null);
  const now = useRef(null);
  now.current = { layer, state, look, opacity, onPick, onMove, onFail };
  const painting = useRef(look);
  painting.current = look;
  const [bar, setBar] = useState(null);
  const [under, setUnder] = useState(null);

  useEffect(() => { // one viewer a slide and start
    const made = OpenSeadragon({ element: box.current, drawer: 'canvas', prefixUrl: '', showNavigationControl: false,
      showNavigator: true, navigatorPosition: 'BOTTOM_RIGHT', navigatorDisplayRegionColor: '#2457c5', tileSources: slideSource(slide),
      maxZoomPixelRatio: 8, gestureSettingsMouse: { clickToZoom: false }, gestureSettingsTouch: { dblClickToZoom: false },
      gestureSettingsPen: { clickToZoom: false }, animationTime: 0.4, timeout: 120000, tileRetryMax: 3 });
    viewer.current = made;
    tie.current.add(made);
    if (tie.current.size === 1) window.studioViewer = made; // for whoever tests the page
    made.addHandler('open', () => {
      const [x, y, zoom] = start;
      const other = [...tie.current].find((one) => one !== made && one.isOpen());
      if (other) follow(made, other);
      if (other || x === undefined) return;
      const middle = made.world.getItemAt(0).imageToViewportCoordinates(+x, +y);
      made.viewport.zoomTo(+zoom || slide.width / 1200 * made.viewport.getHomeZoom(), null, true);
      made.viewport.panTo(middle, true);
    });
    made.addHandler('canvas-click', (event) => {
      if (!event.quick || !now.current.onPick) return; // a drag is not a click
      const at = made.world.getItemAt(0).viewerElementToImageCoordinates(event.position);
      now.current.onPick(at.x, at.y);
    });
    let failed = 0; // when this was told last
    made.addHandler('tile-load-failed', (event) => {
      if (performance.now() - failed < TOLD_AGAIN) return;
      failed = performance.now();
      now.current.onFail(event.tile.getUrl());
    });
    const lead = () => { tie.current.leader = made; };
    made.addHandler('update-viewport', () => {
      if (!made.world.getItemAt(0)) return;
      const perPixel = slide.width / (made.viewport.getZoom(true) * made.container.clientWidth) * slide.mpp;
      setBar({ ...scaleBar(perPixel), times: 10 / perPixel });
      if (tie.current.leader === made) tie.current.forEach((one) => one !== made && one.isOpen() && follow(one, made));
    });
    made.addHandler('animation-finish', () => { // the address says what is on the screen; it can be sent to somebody
      const item = made.world.getItemAt(0);
      if (!item || !now.current.onMove) return;
      const middle = item.viewportToImageCoordinates(made.viewport.getCenter());
      now.current.onMove(Math.round(middle.x), Math.round(middle.y), made.viewport.getZoom().toFixed(3));
    });
    const hover = (event) => {
      const item = made.world.getItemAt(0);
      if (!item || !now.current.layer) return;
      const frame = box.current.getBoundingClientRect();
      const at = item.viewerElementToImageCoordinates(new OpenSeadragon.Point(event.clientX - frame.left, event.clientY - frame.top));
      setUnder(chancesAt(slide, now.current.layer, now.current.state, at, now.current.look.tissues));
    };
    const element = box.current;
    ['pointerenter', 'pointerdown', 'focusin'].forEach((kind) => element.addEventListener(kind, lead));
    element.addEventListener('pointermove', hover);
    return () => { tie.current.delete(made); over.current = null; made.destroy(); };
  }, [slide.name, start]);

  useEffect(() => { // the map over it; the former stays until the new one is there, and if it is the same, until it is drawn
    const made = viewer.current;
    let fresh = null; // that is not shown yet
    let left = false;
    const remove = (item) => { if (item && made.world.getIndexOfItem(item) >= 0) made.world.removeItem(item); };
    const add = () => {
      const old = over.current;
      if (!layer) { remove(old && old.item); over.current = null; return; }
      const same = old && old.layer === layer;
      made.addTiledImage({ tileSource: mapSource(slide, layer, state, painting), opacity: same ? 0 : now.current.opacity, preload: true,
        success: ({ item }) => {
          if (left) { remove(item); return; }
          const show = () => { fresh = null; remove(old && old.item); over.current = { item, layer }; item.setOpacity(now.current.opacity); };
          if (!same || item.getFullyLoaded()) { show(); return; }
          fresh = item;
          item.addHandler('fully-loaded-change', ({ fullyLoaded }) => { if (fullyLoaded && fresh) show(); });
        } });
    };
    if (made.isOpen()) add(); else made.addOnceHandler('open', add);
    return () => { left = true; made.removeHandler('open', add); if (viewer.current === made && made.world) remove(fresh); };
  }, [slide.name, start, layer, state]);
  useEffect(() => { if (over.current) over.current.item.setOpacity(opacity); }, [opacity]);
  useEffect(() => { if (over.current) over.current.item.reset(); }, [look.mode, look.shown]);
  useEffect(() => { // the picked tile is outlined
    const made = viewer.current;
    if (!picked || picked.slide !== slide.name) return undefined;
    const frame = document.createElement('div');
    frame.className = 'picked';
    const add = () => made.addOverlay({ element: frame,
      location: made.world.getItemAt(0).imageToViewportRectangle(picked.x, picked.y, picked.side, picked.side) });
    if (made.isOpen()) add(); else made.addOnceHandler('open', add);
    return () => { if (made.isOpen()) made.removeOverlay(frame); };
  }, [picked && picked.tile, slide.name, start]);

  return html`<div class="pane">
    <div class="viewer" ref=${box} role="application" aria-label=${`slide ${slide.name}${title ? `, ${title}` : ''}`}></div>
    ${title && html`<p class="on title">${title}</p>`}
    ${bar && html`<p class="on scale"><i style=${`width: ${bar.width}px`}></i>${bar.text} · ${bar.times.toPrecision(2)}×</p>`}
    ${under && html`<ul class="on under" aria-label="chances here">${under.chances.map((one) => html`<li style=${`--tissue: ${one.colour}`}
      class=${under.tissue && under.tissue.name === one.name ? 'first' : ''}><i></i>${one.name} ${one.chance.toFixed(2)}</li>`)}</ul>`}
  </div>`;
}

function follow(one, leader) {
  one.viewport.zoomTo(leader.viewport.getZoom(true), null, true);
  one.viewport.panTo(leader.viewport.getCenter(true), true);
}
