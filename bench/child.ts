/** What runs in the processes of a bench: the line that says that one is ready, as `faregate serve` prints it. */
import type { Server } from 'node:net';

export function announce(server: Server): void {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  announceUrl(`http://127.0.0.1:${address.port}`);
}

export function announceUrl(url: string): void {
  process.stdout.write(`${JSON.stringify({ event: 'ready', url, pid: process.pid })}\n`);
}
