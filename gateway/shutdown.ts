/**
 * Waits for SIGTERM or SIGINT, then stops; a second signal hurries it. Resolves when all is stopped.
 */
export function untilStopped(stop: (hurry: AbortSignal) => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const hurry = new AbortController();
    let stopping = false;
    const onSignal = () => {
      if (stopping) return hurry.abort();
      stopping = true;
      stop(hurry.signal)
        .then(resolve, reject)
        .finally(() => {
          process.off('SIGTERM', onSignal);
          process.off('SIGINT', onSignal);
        });
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
  });
}
