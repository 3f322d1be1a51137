/**
 * The tokens of the simulated model: the published cl100k vocabulary, plus chat and reasoning marks at free ids.
 * Loading takes about a quarter of a second and 45 MB, so it happens when the first simulator starts, once per process.
 */
export interface Tokenizer {
  readonly vocabularySize: number;
  /** Ids of a text; marks written out in the text stay text. */
  encode(text: string): number[];
  /** What an id stands for: text where it is whole UTF-8, else its bytes. Unknown ids are empty. */
  piece(id: number): string | Uint8Array;
  /** The text of ids; broken UTF-8 reads as U+FFFD. */
  decode(ids: readonly number[]): string;
  /** An id as `/tokenize` shows it: bytes as the printable letters of byte-level BPE. */
  spell(id: number): string;
}

/** Ids of the marks, where the published vocabulary leaves room. */
export const MARKS = { begin: 100264, end: 100265, think: 100266, endThink: 100267 } as const;

const MARK_TEXT = new Map<number, string>([
  [100257, '<|endoftext|>'],
  [MARKS.begin, '<|im_start|>'],
  [MARKS.end, '<|im_end|>'],
  [MARKS.think, '<think>'],
  [MARKS.endThink, '</think>'],
]);

const VOCABULARY_SIZE = 100277;
const PLAIN = { disallowedSpecial: new Set<string>() };

let loaded: Promise<Tokenizer> | undefined;

/** The tokenizer, loaded on first use. */
export function loadTokenizer(): Promise<Tokenizer> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Tokenizer> {
  const [{ encode }, { default: ranks }] = await Promise.all([
    import('gpt-tokenizer/encoding/cl100k_base'),
    import('gpt-tokenizer/bpeRanks/cl100k_base'),
  ]);
  const piece = (id: number): string | Uint8Array => {
    const entry = ranks[id] ?? MARK_TEXT.get(id) ?? '';
    return typeof entry === 'string' ? entry : Uint8Array.from(entry);
  };
  return {
    vocabularySize: VOCABULARY_SIZE,
    encode: (text) => encode(text, PLAIN),
    piece,
    decode: (ids) => Buffer.concat(ids.map((id) => Buffer.from(piece(id)))).toString(),
    spell: (id) => (MARK_TEXT.has(id) ? String(piece(id)) : spellBytes(Buffer.from(piece(id)))),
  };
}

/** Byte-level BPE writes printable bytes as themselves and moves the others to U+0100 and up, in order. */
function spellBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => BYTE_LETTERS[byte] ?? '').join('');
}

const BYTE_LETTERS = byteLetters();

function byteLetters(): string[] {
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 255 && byte !== 173);
    return printable ? String.fromCharCode(byte) : String.fromCharCode(256 + moved++);
  });
}
