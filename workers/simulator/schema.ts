import { badRequest } from './failure.ts';
import { isObject, type JsonObject } from './fields.ts';
import { pickOne, type Random, randomInteger } from './random.ts';
import { textOfPattern } from './regex.ts';
import { SENTENCES } from './sentences.ts';

/** Deeper than this only required properties are filled, so that recursive schemas end. */
const FILLED_DEPTH = 3;
const DEEPEST = 12;

const FORMATS: Readonly<Record<string, string>> = {
  'date-time': '2[0-9]{3}-0[1-9]-1[0-9]T1[0-9]:[0-5][0-9]:[0-5][0-9]Z',
  date: '2[0-9]{3}-0[1-9]-1[0-9]',
  time: '1[0-9]:[0-5][0-9]:[0-5][0-9]Z',
  email: '[a-z]{4,8}@[a-z]{4,8}\\.example',
  uuid: '[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
  uri: 'https://[a-z]{4,8}\\.example/[a-z]{3,9}',
  ipv4: '10\\.[1-9]\\.[1-9]\\.[1-9]',
};

/** JSON, in the spacing that models write, of a value that the schema accepts. An unknown type answers 400. */
export function jsonOfSchema(schema: unknown, random: Random): string {
  return spaced(new SchemaWriter(schema, random).value(schema, 0));
}

/** JSON of some object, for callers who ask for no more than that. */
export function anyJsonObject(random: Random): string {
  return spaced({ answer: sentence(random), confidence: randomInteger(random, 50, 99) / 100 });
}

class SchemaWriter {
  private readonly root: unknown;
  private readonly random: Random;

  constructor(root: unknown, random: Random) {
    this.root = root;
    this.random = random;
  }

  value(given: unknown, depth: number): unknown {
    const schema = this.resolve(given, depth);
    if (schema === null) {
      return sentence(this.random);
    }
    if (Array.isArray(schema.enum) && schema.enum.length > 0) {
      return pickOne<unknown>(this.random, schema.enum);
    }
    if ('const' in schema) {
      return schema.const;
    }
    const options = schema.anyOf ?? schema.oneOf;
    if (Array.isArray(options) && options.length > 0) {
      const shallow =
        depth > FILLED_DEPTH ? options.find((option) => isObject(option) && option.type === 'null') : undefined;
      return this.value(shallow ?? pickOne<unknown>(this.random, options), depth + 1);
    }
    return this.typed(schema, this.typeOf(schema, depth), depth);
  }

  private typed(schema: JsonObject, type: unknown, depth: number): unknown {
    switch (type) {
      case 'object':
        return this.object(schema, depth);
      case 'array':
        return this.array(schema, depth);
      case 'string':
        return this.text(schema);
      case 'integer':
        return this.number(schema, true);
      case 'number':
        return this.number(schema, false);
      case 'boolean':
        return this.random() < 0.5;
      case 'null':
        return null;
      default:
        throw badRequest(`Grammar error: Invalid type: ${String(type)}`);
    }
  }

  /** Follows references and merges `allOf`; null stands for a schema that accepts anything. */
  private resolve(given: unknown, depth: number): JsonObject | null {
    if (depth > DEEPEST) {
      throw badRequest('Grammar error: schema is nested too deeply');
    }
    if (!isObject(given) || Object.keys(given).length === 0) {
      return null;
    }
    const { $ref: reference, allOf } = given;
    if (typeof reference === 'string') {
      return this.resolve(this.lookUp(reference), depth + 1);
    }
    if (Array.isArray(allOf)) {
      const parts = [given, ...allOf.map((part) => this.resolve(part, depth + 1) ?? {})];
      const properties = Object.assign({}, ...parts.map((part) => part.properties ?? {}));
      const required = parts.flatMap((part) => (Array.isArray(part.required) ? part.required : []));
      const { allOf: _merged, ...merged } = Object.assign({}, ...parts);
      return { ...merged, properties, required };
    }
    return given;
  }

  private lookUp(reference: string): unknown {
    const steps = reference.replace(/^#\/?/, '').split('/').filter(Boolean);
    const found = steps.reduce<unknown>(
      (at, step) => (isObject(at) ? at[step.replaceAll('~1', '/').replaceAll('~0', '~')] : undefined),
      this.root,
    );
    if (found === undefined) {
      throw badRequest(`Grammar error: Pointer '${reference}' does not exist`);
    }
    return found;
  }

  private typeOf(schema: JsonObject, depth: number): unknown {
    const { type } = schema;
    if (Array.isArray(type)) {
      return depth > FILLED_DEPTH && type.includes('null') ? 'null' : type[0];
    }
    if (type !== undefined) {
      return type;
    }
    return 'properties' in schema ? 'object' : 'items' in schema || 'prefixItems' in schema ? 'array' : 'string';
  }

  private object(schema: JsonObject, depth: number): JsonObject {
    const properties = isObject(schema.properties) ? schema.properties : {};
    const required = Array.isArray(schema.required) ? schema.required : [];
    const names = Object.keys(properties).filter((name) => depth < FILLED_DEPTH || required.includes(name));
    const unknown = required.filter((name) => typeof name === 'string' && !(name in properties));
    return Object.fromEntries([...names, ...unknown].map((name) => [name, this.value(properties[name], depth + 1)]));
  }

  private array(schema: JsonObject, depth: number): unknown[] {
    const fixed = Array.isArray(schema.prefixItems) ? schema.prefixItems : [];
    const least = limit(schema.minItems, 0);
    const most = limit(schema.maxItems, Math.max(least, depth < FILLED_DEPTH ? 3 : 0));
    const count = Math.max(
      randomInteger(this.random, Math.max(least, Math.min(1, most)), Math.max(most, least)),
      fixed.length,
    );
    return Array.from({ length: count }, (_, at) => this.value(fixed[at] ?? schema.items, depth + 1));
  }

  private text(schema: JsonObject): string {
    const { pattern, format } = schema;
    if (typeof pattern === 'string') {
      return textOfPattern(pattern, this.random);
    }
    if (typeof format === 'string' && FORMATS[format] !== undefined) {
      return textOfPattern(FORMATS[format], this.random);
    }
    const least = limit(schema.minLength, 0);
    const most = limit(schema.maxLength, Math.max(least, 60));
    let text = sentence(this.random).split(' ').slice(0, 4).join(' ');
    while (text.length < least) {
      text += ` ${sentence(this.random)}`;
    }
    return text.slice(0, most);
  }

  private number(schema: JsonObject, whole: boolean): number {
    const above = schema.exclusiveMinimum;
    const below = schema.exclusiveMaximum;
    const step = typeof schema.multipleOf === 'number' ? schema.multipleOf : whole ? 1 : 0.01;
    const low = typeof above === 'number' ? above + step : limit(schema.minimum, 0);
    const high = typeof below === 'number' ? below - step : limit(schema.maximum, Math.max(low, 0) + 100);
    const steps = randomInteger(
      this.random,
      Math.ceil(low / step),
      Math.max(Math.floor(high / step), Math.ceil(low / step)),
    );
    return whole ? Math.round(steps * step) : Number((steps * step).toFixed(6));
  }
}

function limit(value: unknown, otherwise: number): number {
  return typeof value === 'number' ? value : otherwise;
}

function sentence(random: Random): string {
  return pickOne(random, SENTENCES);
}

/** JSON with a space after commas and colons, outside of strings. */
function spaced(value: unknown): string {
  if (Array.isArray(value)) {
    return `[${value.map(spaced).join(', ')}]`;
  }
  if (isObject(value)) {
    return `{${Object.entries(value)
      .map(([key, item]) => `${JSON.stringify(key)}: ${spaced(item)}`)
      .join(', ')}}`;
  }
  return JSON.stringify(value ?? null);
}
