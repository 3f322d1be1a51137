import { createHmac } from 'node:crypto';
import { remember } from './remember.ts';

const KNOWN_MAX = 100_000;

/** A secret word per account, which keeps one tenant's prompts out of another's prefix cache; made once for each. */
export function cacheSalts(secret: string): (accountId: string) => string {
  const known = new Map<string, string>();
  return (accountId) => {
    let salt = known.get(accountId);
    if (salt === undefined) {
      salt = createHmac('sha256', secret).update(accountId).digest('hex');
      remember(known, accountId, salt, KNOWN_MAX);
    }
    return salt;
  };
}
