/** An answer that is not 200, in the shape that vLLM gives it. */
export class Failure extends Error {
  readonly status: number;
  readonly body: unknown;
  /** The header of a 405. */
  readonly allow: string | null;
  /** Answered outside of all middleware: no `vary`, no request id. */
  readonly bare: boolean;

  constructor(
    status: number,
    body: unknown,
    { allow = null, bare = false }: { allow?: string | null; bare?: boolean } = {},
  ) {
    super(typeof body === 'string' ? body : JSON.stringify(body));
    this.status = status;
    this.body = body;
    this.allow = allow;
    this.bare = bare;
  }
}

function apiError(status: number, type: string, message: string, param: string | null = null): Failure {
  return new Failure(status, { error: { message, type, param, code: status } });
}

/** 400 of a range or of logic. A named parameter is repeated in the message, as vLLM does. */
export function badRequest(message: string, param: string | null = null): Failure {
  return apiError(400, 'BadRequestError', message, param);
}

/** 400 whose message also tells the parameter, and the value where one is given. */
export function badParameter(message: string, param: string, value?: string | number): Failure {
  const detail = value === undefined ? `parameter=${param}` : `parameter=${param}, value=${value}`;
  return badRequest(`${message} (${detail})`, param);
}

/** One thing that pydantic found wrong with a body. `context` is extra text in its notation. */
export interface Issue {
  readonly type: string;
  readonly location: string;
  readonly message: string;
  readonly input: string;
  readonly context?: string;
}

/** 400 of a body with fields of wrong types or missing ones. */
export function invalidBody(issues: readonly Issue[]): Failure {
  const lines = issues.map(
    ({ type, location, message, input, context }) =>
      `  {'type': '${type}', 'loc': '${location}', 'msg': ${pythonText(message)}, 'input': ${pythonText(input)}` +
      `${context === undefined ? '' : `, 'ctx': ${context}`}}`,
  );
  const count = `${issues.length} validation error${issues.length === 1 ? '' : 's'}`;
  return apiError(400, 'Bad Request', `${count}:\n${lines.join('\n')}`, issues[0]?.location ?? null);
}

/** 400 of a call whose Content-Type is not JSON. */
export const wrongContentType = (): Failure =>
  apiError(400, 'Bad Request', "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed");

/** 400 of a body that cannot be decoded at all. */
export const unreadableBody = (): Failure => new Failure(400, { detail: 'There was an error parsing the body' });

export const unauthorized = (): Failure => new Failure(401, { error: 'Unauthorized' });

export const unknownPath = (): Failure => new Failure(404, { detail: 'Not Found' });

export const unknownModel = (asked: string, served: string): Failure =>
  apiError(404, 'NotFoundError', `The model \`${asked}\` does not exist. Valid aliases: ${served}.`, 'model');

export const wrongMethod = (allow: string): Failure => new Failure(405, { detail: 'Method Not Allowed' }, { allow });

export const scaleOutDisabled = (): Failure =>
  apiError(
    403,
    'PermissionDeniedError',
    'Scale-out endpoints are disabled. Restart vllm serve with --enable-scale-out to enable them.',
  );

export const scaling = (): Failure => new Failure(503, { error: 'The model is scaling. Please try again later.' });

export const tooManyRequests = (): Failure => apiError(429, 'TooManyRequestsError', 'Too many requests.');

export const queueFull = (): Failure =>
  apiError(
    503,
    'Service Unavailable',
    'The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.',
  );

export const backlogFull = (): Failure =>
  apiError(
    503,
    'Service Unavailable',
    'The engine has reached its prefill token backlog limit. Please try again later or on a different instance.',
  );

export const engineDead = (): Failure =>
  apiError(500, 'InternalServerError', 'EngineCore encountered an issue. See stack trace (above) for the root cause.');

export const shuttingDown = (): Failure => {
  const message = 'cannot schedule new futures after shutdown';
  return new Failure(500, { error: { message, type: 'InternalServerError', param: null, code: 500 } }, { bare: true });
};

/** A text as Python shows it: in single quotes, or in double ones when it holds a single one. */
function pythonText(text: string): string {
  return text.includes("'") && !text.includes('"')
    ? `"${text}"`
    : `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

/** A number as Python shows a float: 3.0, 1e+20, nan. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) {
    return 'nan';
  }
  return Number.isInteger(value) && Math.abs(value) < 1e16 ? `${value}.0` : String(value);
}

/** JSON with Python's spaces, in which vLLM writes errors inside a stream. */
export function pythonJson(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(pythonJson).join(', ')}]`;
  }
  if (typeof value === 'object' && value !== null) {
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}: ${pythonJson(item)}`)
      .join(', ')}}`;
  }
  return JSON.stringify(value);
}
