// Maps as they come from the server, and how they are painted. Other colours need no other request.

const TILE = 256;
const LOWEST = 8; // level at which a slide is one piece
const MOST = 600;
const pieces = new Map(); // decoded pieces by address
const AT_ONCE = 2; // a browser has six connections, and pieces that are still to be computed must not hold all of them
let asked = 0;
const waiting = [];

async function inTurn(work) {
  if (asked >= AT_ONCE) await new Promise((go) => { waiting.push(go); }); // who lets go hands the place on
  else asked += 1;
  try { return await work(); } finally {
    if (waiting.length) waiting.shift()();
    else asked -= 1;
  }
}

async function decoded(url, signal) {
  if (pieces.has(url)) return pieces.get(url);
  if (signal.aborted) throw new Error('no longer wanted');
  const response = await fetch(url, { signal });
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

// Plane 0 says the tissue, the others the chance of each: the channels of pictures that lie one below the other.
const blocksOf = (tissues) => Math.ceil((1 + tissues) / 3);
const placeOf = (found, plane, pixel, height) => 4 * (Math.floor(plane / 3) * height * found.width + pixel) + (plane % 3);

const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
const DOUBT = [225, 60, 190];

function painter(look) { // colour and opacity of a pixel, of its tissue and the chances
  const table = look.tissues.map((one) => rgb(one.colour));
  const chosen = look.tissues.findIndex((one) => look.mode === `chance of ${one.name}`);
  if (chosen >= 0) return (tissue, chance) => [table[chosen], chance(chosen)];
  if (look.mode === 'doubt') {
    return (tissue, chance) => (tissue < table.length ? [DOUBT, Math.min(255, 2 * (255 - Math.max(...table.map((_, i) => chance(i)))))] : null);
  }
  return (tissue) => (look.shown[tissue] ? [table[tissue], 255] : null);
}

function painted(found, look) {
  const { data, width } = found;
  const height = found.height / blocksOf(look.tissues.length);
  const out = new ImageData(width, height);
  const paint = painter(look);
  let pixel = 0;
  const chance = (tissue) => data[placeOf(found, 1 + tissue, pixel, height)];
  for (; pixel < width * height; pixel += 1) {
    const done = paint(data[4 * pixel], chance);
    if (!done) continue;
    [out.data[4 * pixel], out.data[4 * pixel + 1], out.data[4 * pixel + 2]] = done[0];
    out.data[4 * pixel + 3] = done[1];
  }
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext('2d');
  context.putImageData(out, 0, 0);
  return context;
}

export function slideSource(slide) {
  return { width: slide.width, height: slide.height, tileSize: TILE, tileOverlap: 0, minLevel: LOWEST,
    getTileUrl: (level, x, y) => `/api/slide/${encodeURIComponent(slide.name)}/${level}/${x}_${y}.jpg` };
}

const topOf = (slide) => Math.ceil(Math.log2(Math.max(slide.width, slide.height)));
const isFar = (slide, level) => level < topOf(slide) - slide.coarse;
const addressOf = (slide, layer, state, level, x, y) =>
  `/api/${layer}/${encodeURIComponent(slide.name)}/${level}/${x}_${y}.png${isFar(slide, level) ? `?${state}` : ''}`;

// layer: 'map/ROUND', or what a prototype looks for; slide.coarse: levels below the top that are computed
// state: how much of the map is computed; what is seen from afar changes with it
export function mapSource(slide, layer, state, look) {
  return { width: slide.width, height: slide.height, tileSize: TILE, tileOverlap: 0, minLevel: LOWEST,
    getTileUrl: (level, x, y) => addressOf(slide, layer, state, level, x, y),
    downloadTileStart: (job) => {
      const stop = new AbortController();
      job.userData.stop = stop;
      const work = () => decoded(job.src, stop.signal);
      const piece = isFar(slide, job.tile.level) ? work() : inTurn(work); // from afar nothing is computed
      piece.then((found) => job.finish(painted(found, look.current), null, 'context2d'), (error) => job.fail(error.message, null));
    },
    downloadTileAbort: (job) => job.userData.stop.abort() }; // or else the next slide waits for what nobody looks at
}

export function chancesAt(slide, layer, state, at, tissues) { // what the finest piece that is there says of a place; null: nothing
  const top = topOf(slide);
  for (let level = top; level >= LOWEST; level -= 1) {
    const scale = 2 ** (top - level);
    const [x, y] = [Math.floor(at.x / scale), Math.floor(at.y / scale)];
    if (x < 0 || y < 0) return null;
    const found = pieces.get(addressOf(slide, layer, state, level, x >> 8, y >> 8));
    const height = found && found.height / blocksOf(tissues.length);
    if (!found || (x & 255) >= found.width || (y & 255) >= height) continue;
    const pixel = (y & 255) * found.width + (x & 255);
    const named = tissues.map((one, index) => ({ ...one, chance: found.data[placeOf(found, 1 + index, pixel, height)] / 255 }));
    return { tissue: tissues[found.data[4 * pixel]], chances: named.sort((a, b) => b.chance - a.chance) };
  }
  return null;
}
