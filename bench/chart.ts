/** CPU per call as a drawing, the floor's share in a darker shade: of each part of our work, and of other gateways where they were in the run. */
import type { Result } from './measure.ts';
import { isPeer, PEERS_SMALL } from './workloads.ts';

const BAR_PX = 26;
const GAP_PX = 10;
const LABEL_PX = 210;
const WIDE_PX = 460;
const MORE_PX = 190;
const TOP_PX = 44;
/** Bars of others end at so many times our longest one, with a mark: else the dearest would leave nothing to see of the rest. */
const LONGEST = 4;

/** The first workload, and below it the one by which other gateways are compared. */
export function chart(results: readonly Result[], caption: string): string {
  const of = (workload: string | undefined) =>
    results.filter((result) => result.workload === workload && result.cpuUs !== null);
  const parts = [...new Set([results[0]?.workload, PEERS_SMALL])].map(of).filter((part) => part.length > 0);
  let top = TOP_PX;
  const drawn = parts.map((part) => {
    const lines = bars(part, top);
    top += part.length * (BAR_PX + GAP_PX) + GAP_PX;
    return lines;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${LABEL_PX + WIDE_PX + MORE_PX}" height="${top}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/><text x="8" y="24">${caption}</text>
${drawn.flat().join('\n')}
</svg>
`;
}

function bars(part: readonly Result[], top: number): string[] {
  const most = (some: readonly Result[]) => Math.max(...some.map(({ cpuUs }) => cpuUs ?? 0));
  const end = Math.min(most(part), LONGEST * most(part.filter(({ row }) => !isPeer(row))));
  const floor = part.find(({ row }) => row === 'floor')?.cpuUs ?? 0;
  const wide = (us: number) => ((Math.min(us, end) / end) * WIDE_PX).toFixed(1);
  return part.map(({ row, cpuUs }, index) => {
    const y = top + index * (BAR_PX + GAP_PX);
    const us = cpuUs ?? 0;
    const label = `${us > end ? '» ' : ''}${us.toFixed(1)} µs, ${(us / floor).toFixed(2)} × floor`;
    return [
      `<text x="${LABEL_PX - 8}" y="${y + 18}" text-anchor="end">${row.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`,
      `<rect x="${LABEL_PX}" y="${y}" width="${wide(us)}" height="${BAR_PX}" fill="${isPeer(row) ? '#d9d2c5' : '#9ec5e8'}"/>`,
      `<rect x="${LABEL_PX}" y="${y}" width="${wide(Math.min(us, floor))}" height="${BAR_PX}" fill="#2a6ca8"/>`,
      `<text x="${LABEL_PX + WIDE_PX + 8}" y="${y + 18}">${label}</text>`,
    ].join('');
  });
}
