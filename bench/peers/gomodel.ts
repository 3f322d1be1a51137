/** GoModel: Go, one core; usage and budgets go to SQLite behind a queue. */
import { models } from '../answers.ts';
import { type Peer, type Place, type Run, setup } from './peer.ts';

const VERSION = '0.1.22';
const KEY = 'sk-bench';

export const gomodel: Peer = {
  name: 'GoModel',
  version: VERSION,
  folder: 'gomodel',
  program: 'gomodel',
  install: {
    source: { repository: 'https://github.com/ENTERPILOT/GoModel', tag: `v${VERSION}` },
    steps: [['go', 'build', '-C', 'source', '-buildvcs=false', '-o', '../gomodel', './cmd/gomodel']],
  },
  setups: [
    setup('vs GoModel, bare', (place) => run(place, { USAGE_ENABLED: 'false', BUDGETS_ENABLED: 'false' }, [])),
    setup('vs GoModel, key and usage', (place) =>
      run(place, { GOMODEL_MASTER_KEY: KEY, USAGE_ENABLED: 'true', BUDGETS_ENABLED: 'false' }, [KEY]),
    ),
    setup('vs GoModel, key and budget', (place) =>
      run(place, { GOMODEL_MASTER_KEY: KEY, USAGE_ENABLED: 'true', SET_BUDGET_: 'monthly=1000000' }, [KEY]),
    ),
  ],
};

function run({ program, port, workerUrl }: Place, env: Record<string, string>, keys: readonly string[]): Run {
  return {
    command: [program],
    env: {
      PORT: String(port),
      GOMAXPROCS: '1',
      VLLM_BASE_URL: `${workerUrl}/v1`,
      VLLM_MODELS: Object.values(models).join(','),
      CONFIGURED_PROVIDER_MODELS_MODE: 'allowlist',
      // Else it is fetched from afar at the start.
      MODEL_LIST_URL: '',
      LOG_LEVEL: 'error',
      LOGGING_ENABLED: 'false',
      METRICS_ENABLED: 'false',
      SWAGGER_ENABLED: 'false',
      ADMIN_ENDPOINTS_ENABLED: 'false',
      ADMIN_UI_ENABLED: 'false',
      ...env,
    },
    keys,
  };
}
