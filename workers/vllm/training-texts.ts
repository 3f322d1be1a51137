import { glob } from 'node:fs/promises';
import { join } from 'node:path';

const checkout = join(import.meta.dirname, '../..');
const patterns = ['*.md', '{gateway,router,workers,payments,db,bench}/**/*.{md,ts,sql,py}'];

/** What the tiny model's tokenizer learns from: the documents and sources of this checkout, in a fixed order. */
export async function trainingTexts(): Promise<string[]> {
  const names: string[] = [];
  for await (const name of glob(patterns, { cwd: checkout })) names.push(name);
  return names.sort().map((name) => join(checkout, name));
}
