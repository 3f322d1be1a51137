import { readBytes, readObject } from './body.ts';
import type { Exchange } from './exchange.ts';
import { wrongMethod } from './failure.ts';
import { type FaultControl, readRule } from './faults.ts';

const PATH = '/simulator/faults';

/** Whether a path belongs to the simulator and not to vLLM. */
export function isControlPath(path: string): boolean {
  return path === PATH;
}

/**
 * The control endpoint, which no real server has: `GET` lists the rules, `POST` adds one
 * (`{"fault": …, "count", "after_tokens", "ms", "status", "factor"}`, or `"none"` to clear), `DELETE` clears.
 */
export async function answerControl(faults: FaultControl, exchange: Exchange): Promise<void> {
  const { method } = exchange.request;
  const bytes = await readBytes(exchange.request);
  if (method === 'DELETE') {
    faults.clear();
  } else if (method === 'POST') {
    const body = readObject(bytes, 'application/json');
    if (body.fault === 'none') {
      faults.clear();
    } else {
      faults.set(readRule(body));
    }
  } else if (method !== 'GET') {
    throw wrongMethod('GET, POST, DELETE');
  }
  exchange.json(200, { faults: faults.rules });
}
