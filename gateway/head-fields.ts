/** The fields of an answer's head, by names of ours in lower case. */
export type HeadFields = Readonly<Record<string, string | number>>;

/** As the web's own Response takes them. */
export function toHeaders(fields: HeadFields): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) headers.set(name, String(value));
  return headers;
}
