/** A statement as text, written while it is read from the database. */
import type { StatementLine } from '../payments/statements.ts';

export type StatementFormat = 'csv' | 'ndjson';

export const statementTypes = {
  csv: 'text/csv; charset=utf-8',
  ndjson: 'application/x-ndjson',
} as const satisfies Record<StatementFormat, string>;

type Field = string | number | null;
type Row = Readonly<Record<string, Field>>;

/** Whole lines of text, in the order of `columns`. */
export async function* statementText(
  pages: AsyncIterable<readonly StatementLine[]>,
  format: StatementFormat,
): AsyncGenerator<string> {
  let first = true;
  for await (const lines of pages) {
    const rows = lines.map(fieldsOf);
    const names = first && rows[0] !== undefined && format === 'csv' ? csvLine(Object.keys(rows[0])) : '';
    first = false;
    yield names +
      rows.map((row) => (format === 'csv' ? csvLine(Object.values(row)) : `${JSON.stringify(row)}\n`)).join('');
  }
}

function fieldsOf(line: StatementLine): Row {
  return {
    at: line.at,
    kind: line.kind,
    amount_nanousd: line.amount.toString(),
    balance_nanousd: line.balance.toString(),
    txn: line.txn,
    call: line.call,
    model: line.model,
    prompt_tokens: line.promptTokens,
    cached_tokens: line.cachedTokens,
    completion_tokens: line.completionTokens,
    reference: line.reference,
    reason: line.reason,
    transaction: line.transaction,
  };
}

/** RFC 4180. */
function csvLine(fields: readonly Field[]): string {
  return `${fields.map((field) => quoted(String(field ?? ''))).join(',')}\r\n`;
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
