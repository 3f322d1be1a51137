import { differ, type Mismatch } from './compare.ts';

/** Compares two metrics pages: vLLM's own series (names, kinds, labels, bounds) and, apart, those of the server around it. */
export function compareMetrics(recorded: string, simulated: string): Mismatch[] {
  const [before, now] = [seriesOf(recorded), seriesOf(simulated)];
  const own = (series: readonly string[]): string[] => series.filter((name) => name.startsWith('vllm:'));
  const others = (series: readonly string[]): string[] => series.filter((name) => !name.startsWith('vllm:'));
  return [...differ('metrics', own(before), own(now)), ...differ('other metrics', others(before), others(now))];
}

/** The value of a series, by the beginning of its line. */
export function metric(page: string, begins: string): number {
  const line = page.split('\n').find((text) => text.startsWith(begins));
  return Number(line?.split(' ').at(-1) ?? Number.NaN);
}

/** Every series once: its kind, name and label names. Bounds count; labels of info metrics tell the set-up only. */
function seriesOf(page: string): string[] {
  let kind = '';
  const series = page.split('\n').flatMap((line) => {
    if (line.startsWith('# TYPE ')) {
      kind = line.split(' ')[3] ?? '';
      return [];
    }
    const parts = /^([\w:]+)(?:\{(.*)\})? /.exec(line);
    if (line.startsWith('#') || parts === null) {
      return [];
    }
    const [, name = '', labels = ''] = parts;
    const bound = /le="([^"]+)"/.exec(labels)?.[1] ?? '';
    const names = name.endsWith('_info') ? '' : [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label).join(',');
    return [`${name} ${kind} {${names}} ${bound}`];
  });
  return [...new Set(series)].toSorted();
}
