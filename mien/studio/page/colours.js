// Colour of an emotion: its angle on the valence-arousal disc is its hue, its distance from the centre the strength.
// Pleasant is yellow, excited orange to red, unpleasant violet to blue, calm cyan to green.

const HUES = [
  [0, 95],
  [70, 58],
  [120, 25],
  [165, -40],
  [207, -100],
  [268, -165],
  [318, -220],
  [360, -265],
];

function hue(degrees) {
  const after = HUES.findIndex(([angle]) => angle > degrees);
  const [[a, from], [b, to]] = [HUES[after - 1], HUES[after]];
  return from + ((to - from) * (degrees - a)) / (b - a);
}

export const colour = (degrees, strength = 1) =>
  `oklch(0.75 0.14 ${((hue(degrees % 360) + 720) % 360).toFixed(1)} / ${strength.toFixed(3)})`;

export function colourAt(valence, arousal) {
  const degrees = ((Math.atan2(arousal, valence) * 180) / Math.PI + 360) % 360;
  return colour(degrees, Math.min(1, Math.hypot(valence, arousal)));
}
