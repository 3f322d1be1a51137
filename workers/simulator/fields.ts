import { type Issue, invalidBody } from './failure.ts';

/** A JSON object whose fields are not checked yet. */
export type JsonObject = { readonly [key: string]: unknown };

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const TRUE_WORDS = new Set(['true', '1', 'yes', 'y', 'on', 't']);
const FALSE_WORDS = new Set(['false', '0', 'no', 'n', 'off', 'f']);
const LARGEST_INTEGER = 9_223_372_036_854_775_807n;

/**
 * Reads the fields of a body as pydantic does in its lax mode: a numeric string is a number, unknown fields are ignored,
 * null counts as absent, and all that is wrong is collected and told together.
 */
export class Fields {
  readonly body: JsonObject;
  private readonly at: string;
  private readonly issues: Issue[];

  constructor(body: JsonObject, at = 'body', issues: Issue[] = []) {
    this.body = body;
    this.at = at;
    this.issues = issues;
  }

  /** Throws the failure that names everything found wrong so far. */
  check(): void {
    if (this.issues.length > 0) {
      throw invalidBody(this.issues);
    }
  }

  /** Notes that a field is wrong. */
  reject(name: string, type: string, message: string, input: string, context?: string): void {
    const location = name === '' ? this.at : `${this.at}.${name}`;
    this.issues.push({ type, location, message, input, ...(context === undefined ? {} : { context }) });
  }

  /** Notes a required field that is absent. */
  missing(name: string): void {
    this.reject(name, 'missing', 'Field required', describe(this.body));
  }

  integer(name: string): number | null {
    const value = this.body[name];
    const parsed = typeof value === 'string' ? Number(value.trim() === '' ? Number.NaN : value) : value;
    if (value === undefined || value === null) {
      return null;
    }
    if (typeof parsed !== 'number' || Number.isNaN(parsed)) {
      const [type, suffix] =
        typeof value === 'string' ? ['int_parsing', ', unable to parse string as an integer'] : ['int_type', ''];
      this.reject(name, type, `Input should be a valid integer${suffix}`, describe(value));
      return null;
    }
    if (!Number.isInteger(parsed)) {
      const message = 'Input should be a valid integer, got a number with a fractional part';
      this.reject(name, 'int_from_float', message, describe(value));
      return null;
    }
    if (BigInt(parsed) > LARGEST_INTEGER) {
      const message = `Input should be less than or equal to ${LARGEST_INTEGER}`;
      this.reject(name, 'less_than_equal', message, describe(value), `{'le': ${LARGEST_INTEGER}}`);
      return null;
    }
    return parsed;
  }

  number(name: string): number | null {
    const value = this.body[name];
    if (value === undefined || value === null || typeof value === 'number') {
      return value ?? null;
    }
    const parsed = typeof value === 'string' && value.trim() !== '' ? Number(value) : Number.NaN;
    if (!Number.isNaN(parsed) || value === 'NaN') {
      return parsed;
    }
    const [type, suffix] =
      typeof value === 'string' ? ['float_parsing', ', unable to parse string as a number'] : ['float_type', ''];
    this.reject(name, type, `Input should be a valid number${suffix}`, describe(value));
    return null;
  }

  boolean(name: string): boolean | null {
    const value = this.body[name];
    if (value === undefined || value === null || typeof value === 'boolean') {
      return value ?? null;
    }
    const word = String(value).toLowerCase();
    if (typeof value !== 'object' && (TRUE_WORDS.has(word) || FALSE_WORDS.has(word))) {
      return TRUE_WORDS.has(word);
    }
    const [type, suffix] =
      typeof value === 'object' ? ['bool_type', ''] : ['bool_parsing', ', unable to interpret input'];
    this.reject(name, type, `Input should be a valid boolean${suffix}`, describe(value));
    return null;
  }

  text(name: string): string | null {
    const value = this.body[name];
    if (value === undefined || value === null || typeof value === 'string') {
      return value ?? null;
    }
    this.reject(name, 'string_type', 'Input should be a valid string', describe(value));
    return null;
  }

  list(name: string): readonly unknown[] | null {
    const value = this.body[name];
    if (value === undefined || value === null || Array.isArray(value)) {
      return value ?? null;
    }
    this.reject(name, 'list_type', 'Input should be a valid list', describe(value));
    return null;
  }

  object(name: string): JsonObject | null {
    const value = this.body[name];
    if (value === undefined || value === null || isObject(value)) {
      return value ?? null;
    }
    const message = 'Input should be a valid dictionary or object to extract fields from';
    this.reject(name, 'model_attributes_type', message, describe(value));
    return null;
  }

  /** The fields of an object field; its faults are told together with this body's. */
  within(name: string): Fields | null {
    const value = this.object(name);
    return value === null ? null : new Fields(value, `${this.at}.${name}`, this.issues);
  }
}

/** A value as pydantic tells it in `input`. */
export function describe(value: unknown): string {
  if (Array.isArray(value)) {
    return `<list of ${value.length} items>`;
  }
  if (isObject(value)) {
    return `<dict of ${Object.keys(value).length} items>`;
  }
  if (typeof value === 'number' && Number.isInteger(value)) {
    return String(BigInt(value));
  }
  if (typeof value === 'boolean') {
    return value ? 'True' : 'False';
  }
  return value === null || value === undefined ? 'None' : String(value);
}
