import type { Histogram } from './statistics.ts';

export type Labels = Readonly<Record<string, string>>;

/** Series of one metric: what labels have what value. */
export type Values = readonly (readonly [Labels, number])[];

/** A page of metrics in Prometheus' text form, as its Python client writes it. */
export class MetricsPage {
  private readonly lines: string[] = [];
  private readonly common: Labels;
  private readonly createdS: number;

  constructor(common: Labels, createdS: number) {
    this.common = common;
    this.createdS = createdS;
  }

  text(): string {
    return `${this.lines.join('\n')}\n`;
  }

  /** A metric without labels. */
  plain(name: string, kind: 'gauge' | 'counter', help: string, value: number): void {
    this.announce(name, kind, help);
    this.lines.push(`${name} ${float(value)}`);
  }

  gauge(name: string, help: string, values: Values): void {
    this.series(name, 'gauge', help, values, []);
  }

  /** A counter, and beside it the gauge of its birth. `without` names common labels that it lacks. */
  counter(name: string, help: string, values: Values, without: readonly string[] = []): void {
    this.series(`${name}_total`, 'counter', help, values, without);
    const births = values.map(([labels]): [Labels, number] => [labels, this.createdS]);
    this.series(`${name}_created`, 'gauge', help, births, without);
  }

  histogram(name: string, { bounds, counts, sum, count }: Histogram): void {
    const help = `Histogram of ${name.replace('vllm:', '').replaceAll('_', ' ')}.`;
    this.announce(name, 'histogram', help);
    bounds.forEach((bound, at) => {
      this.line(`${name}_bucket`, { le: float(bound) }, counts[at] ?? 0);
    });
    this.line(`${name}_bucket`, { le: '+Inf' }, count);
    this.line(`${name}_count`, {}, count);
    this.line(`${name}_sum`, {}, sum);
    this.series(`${name}_created`, 'gauge', help, [[{}, this.createdS]], []);
  }

  private series(name: string, kind: string, help: string, values: Values, without: readonly string[]): void {
    this.announce(name, kind, help);
    for (const [labels, value] of values) {
      this.line(name, labels, value, without);
    }
  }

  private announce(name: string, kind: string, help: string): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
  }

  private line(name: string, own: Labels, value: number, without: readonly string[] = []): void {
    const labels = Object.entries({ ...this.common, ...own })
      .filter(([label]) => !without.includes(label))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([label, text]) => `${label}=${JSON.stringify(text)}`);
    this.lines.push(`${name}{${labels.join(',')}} ${float(value)}`);
  }
}

/** A number as Python writes a float. */
function float(value: number): string {
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}
