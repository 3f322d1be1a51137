/** Does the work every so often, one round at a time, until the returned function is called; `failed` hears of rounds that fail. Keeps no process alive. */
export function every(ms: number, work: () => Promise<unknown>, failed: (error: unknown) => void): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    work()
      .catch(failed)
      .finally(() => {
        busy = false;
      });
  }, ms);
  timer.unref();
  return () => clearInterval(timer);
}
