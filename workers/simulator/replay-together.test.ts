import { describe, expect, test } from 'vitest';
import { expectListed } from './replay/listed.ts';
import { recording, recordingNames } from './replay/recordings.ts';
import { REPLAYED_TOGETHER, SCENES } from './replay/scenes.ts';

const names = recordingNames.filter((name) => REPLAYED_TOGETHER.test(name));

describe.concurrent('calls that ran together fare as recorded', () => {
  test.for(names)('%s', async (name) => {
    expectListed(name, (await SCENES[name]?.(recording(name))) ?? []);
  });
});

test('every recording of calls together has its scene', () => {
  expect(names).toEqual(Object.keys(SCENES).toSorted());
});
