/** Preloaded into every measured process: tells over its channel what the process has used so far. Not loaded by the product. */

/** CPU in microseconds, user and system; memory in bytes. */
export interface Used {
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly peakRssBytes: number;
}

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  const used: Used = {
    cpuUs: user + system,
    rssBytes: process.memoryUsage.rss(),
    peakRssBytes: process.resourceUsage().maxRSS * 1_024,
  };
  process.send?.(used);
});
// Listening alone must not keep a process alive that has nothing else to do.
process.channel?.unref();
// Nor may one outlive the bench that began it.
process.on('disconnect', () => process.exit(1));
