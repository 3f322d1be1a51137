/** The fields of a head, by names of ours in lower case. */
export type HeadFields = Readonly<Record<string, string | number>>;

/** As the web's own requests and responses take them. */
export function toHeaders(fields: HeadFields): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields)) headers.set(name, String(value));
  return headers;
}
