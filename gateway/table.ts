/** Rows as a table of plain text, columns as wide as their widest cell, numbers to the right. */
export function renderTable(rows: readonly Readonly<Record<string, string>>[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => (row[column] ?? '').length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, index) => (isNumeric(cell) ? cell.padStart(widths[index] ?? 0) : cell.padEnd(widths[index] ?? 0)))
      .join('  ')
      .trimEnd();
  const rule = widths.map((width) => '─'.repeat(width));
  return [columns, rule, ...rows.map((row) => columns.map((column) => row[column] ?? ''))].map(line).join('\n');
}

function isNumeric(cell: string): boolean {
  return /^[\d.–]+$/.test(cell);
}
