/** Share of calls in time over load, one small drawing for each kind of trace, one line for each policy. */
import type { Line } from './main.ts';
import { ASKING, OURS } from './policies.ts';

const WIDE_PX = 300;
const HIGH_PX = 190;
const EDGE_PX = 46;
const COLOURS: Readonly<Record<string, string>> = {
  [OURS]: '#d1332e',
  [ASKING]: '#e88a86',
  'true state': '#555',
  'two choices': '#2a6ca8',
  'least in flight': '#3f9b5c',
  'bounded prefix': '#8a5fb0',
  'block cost': '#c98a1b',
};

export function chart(lines: readonly Line[], loads: readonly number[], caption: string): string {
  const traces = [...new Set(lines.map(({ trace }) => trace))];
  const panels = traces.map((trace, index) => {
    const shown = lines.filter((line) => line.trace === trace && line.policy in COLOURS);
    return panel(
      trace,
      shown,
      loads,
      (index % 2) * (WIDE_PX + EDGE_PX) + EDGE_PX,
      Math.floor(index / 2) * (HIGH_PX + 60) + 60,
    );
  });
  const legend = Object.entries(COLOURS).map(
    ([name, colour], index) => `<text x="${EDGE_PX + index * 104}" y="40" fill="${colour}">${name}</text>`,
  );
  const width = 2 * (WIDE_PX + EDGE_PX) + 40;
  const height = Math.ceil(traces.length / 2) * (HIGH_PX + 60) + 70;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/><text x="8" y="20">${caption}</text>
${[...legend, ...panels].join('\n')}
</svg>
`;
}

function panel(trace: string, lines: readonly Line[], loads: readonly number[], left: number, top: number): string {
  const most = Math.max(...loads);
  const x = (load: number) => left + (load / most) * WIDE_PX;
  const y = (goodput: number) => top + (1 - goodput) * HIGH_PX;
  const axes = [
    `<rect x="${left}" y="${top}" width="${WIDE_PX}" height="${HIGH_PX}" fill="none" stroke="#bbb"/>`,
    `<text x="${left + 6}" y="${top + HIGH_PX - 8}" font-weight="bold">${trace}</text>`,
    ...loads.map((load) => `<text x="${x(load)}" y="${top + HIGH_PX + 16}" text-anchor="middle">${load} ×</text>`),
    ...[0.5, 1].map((share) => `<text x="${left - 6}" y="${y(share) + 4}" text-anchor="end">${100 * share} %</text>`),
  ];
  const policies = [...new Set(lines.map(({ policy }) => policy))];
  const drawn = policies.map((policy) => {
    const points = lines
      .filter((line) => line.policy === policy)
      .map(({ load, outcomes }) => {
        const goodput = outcomes.reduce((sum, outcome) => sum + outcome.goodput, 0) / outcomes.length;
        return `${x(load).toFixed(1)},${y(goodput).toFixed(1)}`;
      });
    const width = policy === OURS ? 3 : 1.5;
    return `<polyline points="${points.join(' ')}" fill="none" stroke="${COLOURS[policy]}" stroke-width="${width}"/>`;
  });
  return [...axes, ...drawn].join('');
}
