/** LiteLLM: Python on uvicorn, one process as one core is all there is. */
import { models } from '../answers.ts';
import { type Peer, type Place, type Run, setup } from './peer.ts';

const VERSION = '1.106.2';
const KEY = 'sk-bench';
const FAR_USD = 1_000_000;

export const litellm: Peer = {
  name: 'LiteLLM',
  version: VERSION,
  folder: 'litellm',
  program: 'bin/litellm',
  install: {
    steps: [
      ['python3', '-m', 'venv', '.'],
      ['bin/pip', 'install', '--quiet', `litellm[proxy]==${VERSION}`],
    ],
  },
  setups: [
    setup('vs LiteLLM, bare', (place) =>
      run(place, { general_settings: { dangerously_permit_weak_or_unset_master_key: true } }, []),
    ),
    // Budgets of single keys need a Postgres of its own: what it has in memory is the budget of a provider.
    setup('vs LiteLLM, key and budget', (place) =>
      run(
        place,
        {
          general_settings: { master_key: KEY },
          router_settings: { provider_budget_config: { openai: { budget_limit: FAR_USD, time_period: '1d' } } },
        },
        [KEY],
      ),
    ),
  ],
};

function run({ program, port, workerUrl }: Place, more: object, keys: readonly string[]): Run {
  const config = {
    model_list: Object.values(models).map((model) => ({
      model_name: model,
      litellm_params: {
        model: `openai/${model}`,
        api_base: `${workerUrl}/v1`,
        api_key: 'none',
        input_cost_per_token: 2e-7,
        output_cost_per_token: 8e-7,
      },
    })),
    litellm_settings: { telemetry: false, num_retries: 0 },
    ...more,
  };
  return {
    command: [program, '--config', 'config.json', '--host', '127.0.0.1', '--port', String(port), '--num_workers', '1'],
    env: {
      LITELLM_MODE: 'PRODUCTION',
      LITELLM_LOG: 'ERROR',
      LITELLM_LOCAL_MODEL_COST_MAP: 'True',
      LITELLM_TELEMETRY: 'False',
      DISABLE_ADMIN_UI: 'True',
    },
    // JSON is YAML.
    files: { 'config.json': JSON.stringify(config) },
    keys,
  };
}
