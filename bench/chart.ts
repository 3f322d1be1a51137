/** The first workload as a drawing: CPU per call of each row, the floor's share in a darker shade. */
import type { Result } from './measure.ts';

const BAR_PX = 26;
const GAP_PX = 10;
const LABEL_PX = 150;
const WIDE_PX = 460;
const TOP_PX = 44;

export function chart(results: readonly Result[], caption: string): string {
  const bars = results.filter((result) => result.workload === results[0]?.workload && result.cpuUs !== null);
  const most = Math.max(...bars.map(({ cpuUs }) => cpuUs ?? 0));
  const floor = bars.find(({ row }) => row === 'floor')?.cpuUs ?? 0;
  const wide = (us: number) => ((us / most) * WIDE_PX).toFixed(1);
  const lines = bars.map(({ row, cpuUs }, index) => {
    const y = TOP_PX + index * (BAR_PX + GAP_PX);
    const us = cpuUs ?? 0;
    const label = `${us.toFixed(1)} µs, ${(us / floor).toFixed(2)} × floor`;
    return [
      `<text x="${LABEL_PX - 8}" y="${y + 18}" text-anchor="end">${row}</text>`,
      `<rect x="${LABEL_PX}" y="${y}" width="${wide(us)}" height="${BAR_PX}" fill="#9ec5e8"/>`,
      `<rect x="${LABEL_PX}" y="${y}" width="${wide(Math.min(us, floor))}" height="${BAR_PX}" fill="#2a6ca8"/>`,
      `<text x="${LABEL_PX + WIDE_PX + 8}" y="${y + 18}">${label}</text>`,
    ].join('');
  });
  const width = LABEL_PX + WIDE_PX + 190;
  const height = TOP_PX + bars.length * (BAR_PX + GAP_PX);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="#fff"/><text x="8" y="24">${caption}</text>
${lines.join('\n')}
</svg>
`;
}
