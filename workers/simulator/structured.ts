import { badParameter, badRequest } from './failure.ts';
import { describe, type Fields, isObject, type JsonObject } from './fields.ts';
import { pickOne, type Random } from './random.ts';
import { textOfPattern } from './regex.ts';
import { anyJsonObject, jsonOfSchema } from './schema.ts';

/** Writes a text that keeps to what the caller demanded; null where the model may speak freely. */
export type Constraint = ((random: Random) => string) | null;

const KINDS = ['json', 'regex', 'choice', 'grammar', 'json_object', 'structural_tag'] as const;
const FORMATS = "'text', 'json_object' or 'json_schema'";

/** The constraint of `structured_outputs` or `response_format`. Impossible ones answer 400, as vLLM's grammars do. */
export function readConstraint(fields: Fields): Constraint {
  const structured = fields.object('structured_outputs');
  const constraint = structured === null ? formatConstraint(fields) : structuredConstraint(structured);
  return constraint;
}

function structuredConstraint(structured: JsonObject): Constraint {
  const asked = KINDS.filter((kind) => structured[kind] !== undefined && structured[kind] !== null);
  if (asked.length > 1) {
    throw badRequest("You can only use one kind of constraints for structured outputs ('json', 'regex' or 'choice').");
  }
  const [kind] = asked;
  if (kind === undefined) {
    return null;
  }
  const value = structured[kind];
  switch (kind) {
    case 'json':
      return (random) => jsonOfSchema(typeof value === 'string' ? parseSchema(value) : value, random);
    case 'regex':
      return (random) => textOfPattern(String(value), random);
    case 'choice':
      return choiceConstraint(value);
    case 'json_object':
      return anyJsonObject;
    case 'grammar':
    case 'structural_tag':
      throw badRequest(`Grammar error: ${kind} is not simulated`);
  }
}

function choiceConstraint(value: unknown): Constraint {
  if (!Array.isArray(value) || value.length === 0) {
    throw badRequest('Choice must be a non-empty list');
  }
  const texts = value.map(String);
  return (random) => pickOne(random, texts);
}

function formatConstraint(fields: Fields): Constraint {
  const format = fields.object('response_format');
  if (format === null) {
    return null;
  }
  const { type, json_schema: wrapped } = format;
  if (type === 'text') {
    return null;
  }
  if (type === 'json_object') {
    return anyJsonObject;
  }
  if (type !== 'json_schema') {
    fields.reject(
      'response_format.type',
      'literal_error',
      `Input should be ${FORMATS}`,
      describe(type),
      `{'expected': "${FORMATS}"}`,
    );
    return null;
  }
  if (!isObject(wrapped)) {
    const message = "When response_format type is 'json_schema', the 'json_schema' field must be provided.";
    throw badParameter(message, 'response_format');
  }
  return (random) => jsonOfSchema(wrapped.schema ?? {}, random);
}

function parseSchema(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badRequest('Grammar error: schema is not valid JSON');
  }
}
