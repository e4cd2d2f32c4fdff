// Times in words.

export function about(seconds) { // '' while that cannot be told
  if (seconds === null || !Number.isFinite(seconds)) return '';
  return seconds < 90 ? `, about ${Math.ceil(seconds)} s` : `, about ${Math.ceil(seconds / 60)} min`;
}
