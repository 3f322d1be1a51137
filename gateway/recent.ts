/**
 * One answer for everybody who asks within `ms` of the last one, and one question at a time: routes that anybody may call must
 * not be a way to keep the database busy. A failure is not remembered. `now` is monotonic milliseconds.
 */
export function recent<T>(ms: number, now: () => number, ask: () => Promise<T>): () => Promise<T> {
  let answer: Promise<T> | null = null;
  let askedAtMs = 0;
  return () => {
    if (answer !== null && now() - askedAtMs < ms) return answer;
    const asked = ask();
    answer = asked;
    askedAtMs = now();
    asked.catch(() => {
      if (answer === asked) answer = null;
    });
    return asked;
  };
}
