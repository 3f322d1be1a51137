/** The limits of the caller's key, and of the keys above it, which all their keys below share. */
import type { Principal } from './auth.ts';
import { type ApiError, apiError } from './errors.ts';
import type { Admitted, Demand, Limited, RateLimiter } from './ratelimit.ts';
import { fieldsOf } from './wire/fields.ts';

/** Takes what a call may need from every key in the line, or from none. What the answer's head says of them are those of the caller's own key. */
export function admitCall(limiter: RateLimiter, principal: Principal, demand: Demand): Admitted {
  const own = limiter.admit(principal.keyId, principal.limits, demand);
  if (!own.ok) throw limited(own, "This key's own limit");
  const taken = [own];
  for (const { keyId, limits } of principal.ancestors) {
    const above = limiter.admit(keyId, limits, demand);
    if (!above.ok) {
      for (const admitted of taken) admitted.release(0);
      throw limited({ ...above, headers: fieldsOf(own.lines) }, 'The limit of the keys above this one');
    }
    taken.push(above);
  }
  if (taken.length === 1) return own;
  return {
    ok: true,
    lines: own.lines,
    release: (tokens) => {
      for (const admitted of taken) admitted.release(tokens);
    },
  };
}

function limited({ which, retryAfterMs, headers }: Limited, whose: string): ApiError {
  return retryAfterMs === null
    ? apiError('rate_limited', `${whose} of ${which} per minute is less than this call alone.`, { headers })
    : apiError('rate_limited', `${whose} of ${which} is used up: slow down.`, { headers, retryAfterMs });
}
