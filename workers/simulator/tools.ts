import { badParameter, badRequest } from './failure.ts';
import { type Fields, isObject, type JsonObject } from './fields.ts';
import { contentText } from './prompt.ts';
import type { Random } from './random.ts';
import { jsonOfSchema } from './schema.ts';
import { callText } from './script.ts';

/** What a call offers the model to use, and whether it must. */
export interface ToolUse {
  readonly tools: readonly JsonObject[];
  readonly mode: 'none' | 'auto' | 'required' | 'named';
  /** The tool that must be used, when named. */
  readonly name: string | null;
}

/** Reads `tools` and `tool_choice`; null when no tools are offered. */
export function readTools(fields: Fields): ToolUse | null {
  const tools = fields.list('tools');
  const choice = fields.body.tool_choice ?? null;
  if (tools === null) {
    if (choice !== null && choice !== 'none' && choice !== 'auto') {
      throw badParameter('When using `tool_choice`, `tools` must be set.', 'tool_choice');
    }
    return null;
  }
  if (tools.length === 0) {
    const hint = 'Either provide at least one tool or omit the field entirely.';
    throw badParameter(`\`tools\` must not be an empty array. ${hint}`, 'tools');
  }
  const offered = tools.map((tool, at) => {
    if (!isObject(tool) || !isObject(tool.function)) {
      const input = isObject(tool) ? `<dict of ${Object.keys(tool).length} items>` : String(tool);
      fields.reject(`tools.${at}.function`, 'missing', 'Field required', input);
      return {};
    }
    return tool.function;
  });
  fields.check();
  return { tools: offered, ...readChoice(choice, offered) };
}

function readChoice(choice: unknown, tools: readonly JsonObject[]): { mode: ToolUse['mode']; name: string | null } {
  if (choice === null || choice === 'auto' || choice === 'none' || choice === 'required') {
    return { mode: choice ?? 'auto', name: null };
  }
  const wanted = isObject(choice) && isObject(choice.function) ? choice.function.name : undefined;
  if (typeof wanted !== 'string') {
    const rule = 'Only named tools, "none", "auto" or "required" are supported.';
    throw badParameter(`Invalid value for \`tool_choice\`: ${String(choice)}! ${rule}`, 'tool_choice');
  }
  if (!tools.some(({ name }) => name === wanted)) {
    const message = 'The tool specified in `tool_choice` does not match any of the specified `tools`';
    throw badParameter(message, 'tool_choice');
  }
  return { mode: 'named', name: wanted };
}

/** Refuses tool use that a server without a tool parser cannot offer. */
export function checkToolParser(use: ToolUse | null, parser: boolean): void {
  if (parser || use === null || use.mode === 'none' || use.mode === 'named') {
    return;
  }
  throw badRequest(
    use.mode === 'auto'
      ? '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
      : 'tool_choice="required" requires --tool-call-parser to be set',
  );
}

/**
 * The text of the tool calls that the model makes, or null for none. It calls when it must; when it may, it calls the
 * tools whose name, or a word of five letters or more of whose description, stands in the last message, if a user's.
 */
export function toolCallText(use: ToolUse, messages: readonly JsonObject[], random: Random): string | null {
  const called = calledTools(use, messages);
  return called.length === 0
    ? null
    : called.map((tool) => callText(String(tool.name), jsonOfSchema(parametersOf(tool), random))).join('\n');
}

function calledTools({ tools, mode, name }: ToolUse, messages: readonly JsonObject[]): readonly JsonObject[] {
  switch (mode) {
    case 'none':
      return [];
    case 'named':
      return tools.filter((tool) => tool.name === name).slice(0, 1);
    case 'auto':
    case 'required': {
      const last = messages.at(-1);
      const text = last?.role === 'user' ? contentText(last.content).toLowerCase() : '';
      const meant = tools.filter((tool) => isMeant(tool, text));
      return meant.length > 0 || mode === 'auto' ? meant : tools.slice(0, 1);
    }
  }
}

function isMeant(tool: JsonObject, text: string): boolean {
  const words = String(tool.description ?? '')
    .toLowerCase()
    .match(/\p{L}{5,}/gu);
  const said = new Set(text.match(/\p{L}{5,}/gu) ?? []);
  return text.includes(String(tool.name).toLowerCase()) || (words ?? []).some((word) => said.has(word));
}

function parametersOf(tool: JsonObject): unknown {
  return isObject(tool.parameters) ? tool.parameters : { type: 'object', properties: {} };
}
