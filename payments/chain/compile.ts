/** Compiles our Solidity with solc from npm: `npm run contracts` writes `contracts.json`, the code that a local chain is given. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import solc from 'solc';

const SOURCES = new URL('./contracts/', import.meta.url);
const SETTINGS = {
  optimizer: { enabled: true, runs: 200 },
  viaIR: true,
  // The base of what chains run today; without the hash of sources the code depends on nothing but itself.
  evmVersion: 'cancun',
  metadata: { bytecodeHash: 'none', appendCBOR: false },
  outputSelection: { '*': { '*': ['evm.deployedBytecode.object'] } },
};

interface CompilerOutput {
  readonly errors?: readonly { readonly formattedMessage: string }[];
  readonly contracts: Readonly<
    Record<
      string,
      Readonly<Record<string, { readonly evm: { readonly deployedBytecode: { readonly object: string } } }>>
    >
  >;
}

/** The code of every contract, by name, as it lies on a chain. Warnings are errors. */
export function compileContracts(): Record<string, `0x${string}`> {
  const files = readdirSync(SOURCES).sort();
  const sources = Object.fromEntries(
    files.map((file) => [file, { content: readFileSync(new URL(file, SOURCES), 'utf8') }]),
  );
  const input = JSON.stringify({ language: 'Solidity', sources, settings: SETTINGS });
  const output = JSON.parse(solc.compile(input)) as CompilerOutput;
  if (output.errors !== undefined) throw new Error(output.errors.map((error) => error.formattedMessage).join('\n'));
  const compiled = files.map((file) => {
    const name = file.replace('.sol', '');
    const code = output.contracts[file]?.[name]?.evm.deployedBytecode.object;
    if (code === undefined || code === '') throw new Error(`${file} holds no contract ${name}`);
    return [name, `0x${code}` as const];
  });
  return Object.fromEntries(compiled);
}

if (import.meta.main) {
  const file = new URL('./contracts.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify(compileContracts(), null, 2)}\n`);
}
