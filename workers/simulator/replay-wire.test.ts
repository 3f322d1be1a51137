import { afterAll, beforeAll, describe, test } from 'vitest';
import { expectListed } from './replay/listed.ts';
import { conversation, recordingNames } from './replay/recordings.ts';
import { SERVERS } from './replay/servers.ts';
import { replayConversation } from './replay/wire-replay.ts';
import { type Simulator, startSimulator } from './server.ts';

let simulator: Simulator;

beforeAll(async () => {
  // Slow enough that a client can hang up in mid-stream.
  simulator = await startSimulator({ ...SERVERS.recorded, decodeBaseMs: 10 });
});

afterAll(() => simulator.close());

describe.concurrent('a conversation on one connection goes as recorded', () => {
  test.for(recordingNames.filter((name) => name.startsWith('wire-')))('%s', async (name) => {
    expectListed(name, await replayConversation(simulator.url, name, conversation(name)));
  });
});
