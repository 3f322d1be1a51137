import type { Choice, Finish } from './choice.ts';

/** What a chat call asked beyond the common form. */
export interface ChatForm {
  readonly includeReasoning: boolean;
  /** A call to a tool that the caller named finishes with `stop`, not with `tool_calls`. */
  readonly namedTool: boolean;
  /** With `tool_choice` required or named, vLLM answers content "" beside the calls, else null. */
  readonly forcedTool: boolean;
  /** JSON of the prompt's logprobs, or null. */
  readonly promptLogprobs: unknown;
  readonly newId: () => string;
}

/** The finish reason that the caller is told: a call to a tool is one of its own, unless the tool was named. */
export function chatFinish({ finish, calledTools }: Choice, { namedTool }: ChatForm): Finish | 'tool_calls' | null {
  return finish === 'stop' && calledTools && !namedTool ? 'tool_calls' : finish;
}
