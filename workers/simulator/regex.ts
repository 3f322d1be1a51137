import { badRequest } from './failure.ts';
import { pickOne, type Random, randomInteger } from './random.ts';

/** A pattern, parsed: what can stand at one place. */
type Node =
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly options: readonly Node[] }
  | { readonly kind: 'repeat'; readonly item: Node; readonly least: number; readonly most: number }
  | { readonly kind: 'class'; readonly characters: readonly string[] };

/** How often `*`, `+` and `{n,}` repeat at most beyond their least. */
const SPARE_REPEATS = 6;

/** What `.` and negated classes draw from. */
const PRINTABLE = Array.from({ length: 95 }, (_, at) => String.fromCharCode(32 + at));
const DIGITS = [...'0123456789'];
const LETTERS = [...'abcdefghijklmnopqrstuvwxyz'];
const WORD = [...LETTERS, ...LETTERS.map((letter) => letter.toUpperCase()), ...DIGITS, '_'];
const CLASSES: Readonly<Record<string, readonly string[]>> = {
  d: DIGITS,
  w: WORD,
  s: [' '],
  D: PRINTABLE.filter((character) => !DIGITS.includes(character)),
  W: PRINTABLE.filter((character) => !WORD.includes(character)),
  S: PRINTABLE.filter((character) => character !== ' '),
};
const CONTROLS: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', f: '\f', v: '\v', 0: '\0' };

/**
 * A text that matches the pattern. Known: literals, escapes, classes, groups, alternation, `? * +` and counts, `.` and
 * outer anchors; look-around, back references and named properties answer 400, as an impossible grammar does.
 */
export function textOfPattern(pattern: string, random: Random): string {
  const node = new PatternParser(pattern).parse();
  return generate(node, random);
}

function generate(node: Node, random: Random): string {
  switch (node.kind) {
    case 'sequence':
      return node.items.map((item) => generate(item, random)).join('');
    case 'choice':
      return generate(pickOne(random, node.options), random);
    case 'repeat': {
      const times = randomInteger(random, node.least, Math.min(node.most, node.least + SPARE_REPEATS));
      return Array.from({ length: times }, () => generate(node.item, random)).join('');
    }
    case 'class':
      return pickOne(random, node.characters);
  }
}

class PatternParser {
  private readonly pattern: string;
  private at = 0;

  constructor(pattern: string) {
    this.pattern = pattern.replace(/^\^/, '').replace(/(?<!\\)\$$/, '');
  }

  parse(): Node {
    const node = this.alternatives();
    if (this.at < this.pattern.length) {
      throw this.error('unopened group');
    }
    return node;
  }

  private alternatives(): Node {
    const options = [this.sequence()];
    while (this.accept('|')) {
      options.push(this.sequence());
    }
    const [only] = options;
    return options.length === 1 && only !== undefined ? only : { kind: 'choice', options };
  }

  private sequence(): Node {
    const items: Node[] = [];
    while (this.at < this.pattern.length && this.peek() !== '|' && this.peek() !== ')') {
      items.push(this.repeated(this.atom()));
    }
    return { kind: 'sequence', items };
  }

  private repeated(item: Node): Node {
    const counts = /^(?:([?*+])|\{(\d+)(,(\d*))?\})\??/.exec(this.pattern.slice(this.at));
    if (counts === null) {
      return item;
    }
    this.at += counts[0].length;
    const [, sign, low, comma, high] = counts;
    if (sign !== undefined) {
      return { kind: 'repeat', item, least: sign === '+' ? 1 : 0, most: sign === '?' ? 1 : Number.POSITIVE_INFINITY };
    }
    const least = Number(low);
    const open = comma !== undefined && high === '';
    return { kind: 'repeat', item, least, most: open ? Number.POSITIVE_INFINITY : Number(high ?? low) };
  }

  private atom(): Node {
    const character = this.next();
    if (character === '(') {
      return this.group();
    }
    if (character === '[') {
      return { kind: 'class', characters: this.classItems() };
    }
    if (character === '.') {
      return { kind: 'class', characters: PRINTABLE };
    }
    if (character === '\\') {
      return { kind: 'class', characters: this.escaped() };
    }
    if ('?*+{^$'.includes(character)) {
      throw this.error(
        character === '^' || character === '$'
          ? 'anchors inside are not simulated'
          : 'repetition operator missing expression',
      );
    }
    return { kind: 'class', characters: [character] };
  }

  private group(): Node {
    if (this.accept('?') && !this.accept(':')) {
      throw this.error('look-around is not supported');
    }
    const node = this.alternatives();
    if (!this.accept(')')) {
      throw this.error('unclosed group');
    }
    return node;
  }

  private classItems(): readonly string[] {
    const negated = this.accept('^');
    const members: string[] = [];
    for (let first = true; first || this.peek() !== ']'; first = false) {
      const low = this.classMember();
      if (low.length === 1 && this.peek() === '-' && this.pattern[this.at + 1] !== ']') {
        this.at += 1;
        members.push(...this.range(low[0] ?? '', this.classMember()[0] ?? ''));
      } else {
        members.push(...low);
      }
    }
    this.at += 1;
    return negated ? PRINTABLE.filter((character) => !members.includes(character)) : members;
  }

  private classMember(): readonly string[] {
    if (this.at >= this.pattern.length) {
      throw this.error('unclosed character class');
    }
    const character = this.next();
    return character === '\\' ? this.escaped() : [character];
  }

  private range(low: string, high: string): string[] {
    const [from, to] = [low.charCodeAt(0), high.charCodeAt(0)];
    if (!(from <= to)) {
      throw this.error('invalid character class range');
    }
    return Array.from({ length: to - from + 1 }, (_, step) => String.fromCharCode(from + step));
  }

  private escaped(): readonly string[] {
    if (this.at >= this.pattern.length) {
      throw this.error('incomplete escape sequence');
    }
    const character = this.next();
    const code = /^(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))/.exec(this.pattern.slice(this.at - 1));
    if (code !== null) {
      this.at += code[0].length - 1;
      return [String.fromCharCode(Number.parseInt(code[1] ?? code[2] ?? '0', 16))];
    }
    if (/[1-9bBpPkAzZ]/.test(character)) {
      throw this.error('unrecognized escape sequence');
    }
    return CLASSES[character] ?? [CONTROLS[character] ?? character];
  }

  private peek(): string | undefined {
    return this.pattern[this.at];
  }

  private next(): string {
    const character = String.fromCodePoint(this.pattern.codePointAt(this.at) ?? 0);
    this.at += character.length;
    return character;
  }

  private accept(character: string): boolean {
    const found = this.peek() === character;
    this.at += found ? 1 : 0;
    return found;
  }

  private error(reason: string): Error {
    const { pattern } = this;
    const shown = `invalid regex ${JSON.stringify(pattern)} (in regex): regex parse error:\n    ${pattern}\n    ^\nerror: ${reason}`;
    return badRequest(`Grammar error: at 1(8): ${shown}\n   1 | start: /${pattern}/\n              ^`);
  }
}
