const REDRAW_MS = 250;
const PLAIN_LINE_EVERY_MS = 20_000;
const CLEAR_LINE = '\r\x1b[K';

/** Tells a waiting person on stderr what a task of some seconds is doing; stdout stays free for data. */
export interface Progress {
  /** Begins the next part of the work; the one before is done. */
  step(title: string): void;
  /** The latest news from within the step, shown on a terminal only. */
  detail(line: string): void;
  /** Ends the last step. */
  done(): void;
}

/** One redrawn line with the seconds on a terminal; elsewhere a plain line at each step and every 20 s of waiting. */
export function stderrProgress(): Progress {
  const terminal = process.stderr.isTTY === true;
  let title = '';
  let detail = '';
  let startedAt = 0;
  let timer: NodeJS.Timeout | undefined;

  const seconds = () => Math.round((performance.now() - startedAt) / 1000);
  const draw = () => {
    const line = detail === '' ? `${title} ${seconds()} s` : `${title} ${seconds()} s  ${detail}`;
    process.stderr.write(CLEAR_LINE + line.slice(0, (process.stderr.columns ?? 80) - 1));
  };
  const sayPlainly = () => process.stderr.write(`${title}: ${seconds()} s so far\n`);

  const done = () => {
    if (timer === undefined) return;
    clearInterval(timer);
    timer = undefined;
    process.stderr.write(`${terminal ? CLEAR_LINE : ''}${title}: ${seconds()} s\n`);
  };
  return {
    step(next) {
      done();
      [title, detail, startedAt] = [next, '', performance.now()];
      timer = setInterval(terminal ? draw : sayPlainly, terminal ? REDRAW_MS : PLAIN_LINE_EVERY_MS).unref();
      if (!terminal) process.stderr.write(`${title} …\n`);
    },
    detail(line) {
      detail = line;
    },
    done,
  };
}

/** For callers that show nothing. */
export const silent: Progress = { step() {}, detail() {}, done() {} };
